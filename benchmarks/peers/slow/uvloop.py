"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks.peers.slow.asyncio import run


def serve(policy: str) -> None:
    run(uvloop.new_event_loop())
