"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks import server
from benchmarks.peers.asyncio import Server


def serve() -> None:
    server.serve(Server(uvloop.new_event_loop()))
