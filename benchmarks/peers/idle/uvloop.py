"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks import idle_server
from benchmarks.peers.idle.asyncio import Server


def serve() -> None:
    idle_server.serve(Server(uvloop.new_event_loop()))
