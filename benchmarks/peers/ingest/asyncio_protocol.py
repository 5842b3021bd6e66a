"""asyncio with a protocol that finds the lines by itself, a chunk of bytes at a time."""

import asyncio

from benchmarks.ends import ingest_server
from benchmarks.peers.ingest import asyncio as streams


class Client(asyncio.Protocol):
    def __init__(self, owner: "Server") -> None:
        self.owner = owner
        self.take = owner.take
        self.part = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.part = (self.part + data).split(b"\n")
        for line in lines:
            self.take(self, line)

    def connection_lost(self, error: Exception | None) -> None:
        self.owner.leave()


class Server(streams.Server):
    async def listen(self) -> asyncio.Server:
        backlog = ingest_server.BACKLOG
        return await self.loop.create_server(lambda: Client(self), "127.0.0.1", 0, backlog=backlog)


def serve() -> None:
    ingest_server.serve(Server(asyncio.new_event_loop()))
