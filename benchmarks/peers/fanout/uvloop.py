"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks import publisher
from benchmarks.peers.fanout.asyncio import Server


def serve() -> None:
    publisher.serve(Server(uvloop.new_event_loop()))
