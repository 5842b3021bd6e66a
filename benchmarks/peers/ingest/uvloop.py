"""uvloop: the very code of the asyncio peer, on another loop."""

import uvloop

from benchmarks import ingest_server
from benchmarks.peers.ingest.asyncio import Server


def serve() -> None:
    ingest_server.serve(Server(uvloop.new_event_loop()))
