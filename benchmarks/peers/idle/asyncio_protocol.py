"""asyncio with a protocol: a transport and a small object for each client, no coroutine."""

import asyncio
from typing import cast

from benchmarks.ends import idle_server
from benchmarks.peers.idle import asyncio as streams


class Client(asyncio.Protocol):
    __slots__ = ("owner", "transport")

    def __init__(self, owner: "Server") -> None:
        self.owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.owner.clients.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.owner.note_answer()


class Server(streams.Server):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.clients: list[Client] = []
        super().__init__(loop)

    async def listen(self) -> asyncio.Server:
        backlog = idle_server.BACKLOG
        return await self.loop.create_server(lambda: Client(self), "127.0.0.1", 0, backlog=backlog)

    def broadcast(self, data: bytes) -> None:
        """Their buffers are empty, so each write goes to the kernel at once."""
        for client in self.clients:
            client.transport.write(data + b"\n")


def serve() -> None:
    idle_server.serve(Server(asyncio.new_event_loop()))
