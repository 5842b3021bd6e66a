"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks.peers.relay.asyncio import run


def serve() -> None:
    run(uvloop.new_event_loop())
