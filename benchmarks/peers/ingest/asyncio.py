"""asyncio streams, as their documentation has it: a coroutine that reads lines for each client."""

import asyncio
from collections.abc import Callable

from benchmarks.ends import ingest_server
from benchmarks.ends.ingest_server import Take


class Server:
    take: Take

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.left = 0
        self.changed = asyncio.Event()
        self.listener = loop.run_until_complete(self.listen())
        self.port = self.listener.sockets[0].getsockname()[1]

    async def listen(self) -> asyncio.Server:
        backlog = ingest_server.BACKLOG
        return await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=backlog)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        take = self.take
        while line := await reader.readline():
            take(writer, line[:-1])
        writer.close()
        await writer.wait_closed()
        self.leave()

    def leave(self) -> None:
        """A client has ended its stream."""
        self.left -= 1
        self.changed.set()

    def receive(self, clients: int, take: Take) -> None:
        self.left, self.take = clients, take
        self.loop.run_until_complete(self._receive())

    async def _receive(self) -> None:
        while self.left:
            self.changed.clear()
            await self.changed.wait()


def serve(new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    ingest_server.serve(Server(new_loop()))
