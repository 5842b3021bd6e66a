"""asyncio with a protocol, as the TCP echo server of its documentation is written.

It echoes what has arrived, whole messages or not. Transports set TCP_NODELAY by themselves.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from benchmarks.ends import echo_server


class Client(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, owner: "Server") -> None:
        self.owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.owner.gone += 1
        self.owner.changed.set()


class Server:
    def __init__(self, where: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.changed = asyncio.Event()
        self.gone = 0
        self.listener = self.loop.run_until_complete(self._listen(where))
        self.address = self.listener.sockets[0].getsockname()

    async def _listen(self, where: str) -> asyncio.Server:
        loop, backlog = asyncio.get_running_loop(), echo_server.BACKLOG
        if where == "tcp":
            return await loop.create_server(lambda: Client(self), "127.0.0.1", 0, backlog=backlog)
        return await loop.create_unix_server(lambda: Client(self), where, backlog=backlog)

    def serve(self, clients: int) -> None:
        self.loop.run_until_complete(self._serve(clients))

    async def _serve(self, clients: int) -> None:
        while self.gone < clients:
            self.changed.clear()
            await self.changed.wait()


def serve(new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    echo_server.serve(lambda where, mode: Server(where, new_loop()))
