"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks import echo_server
from benchmarks.peers.echo.asyncio import Server


def serve() -> None:
    echo_server.serve(lambda where, mode: Server(where, uvloop.new_event_loop()))
