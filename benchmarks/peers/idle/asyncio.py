"""asyncio streams, as their documentation has it: a coroutine for each client."""

import asyncio
from collections.abc import Callable

from benchmarks.ends import idle_server


class Server:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.writers: list[asyncio.StreamWriter] = []
        self.answered = 0
        self.changed = asyncio.Event()
        self.listener = loop.run_until_complete(self.listen())
        self.port = self.listener.sockets[0].getsockname()[1]

    async def listen(self) -> asyncio.Server:
        backlog = idle_server.BACKLOG
        return await asyncio.start_server(self._talk, "127.0.0.1", 0, backlog=backlog)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
            self.note_answer()

    def note_answer(self) -> None:
        """A client has said its message, and was answered."""
        self.answered += 1
        self.changed.set()

    def grow(self, clients: int) -> None:
        self.loop.run_until_complete(self._grow(clients))

    async def _grow(self, clients: int) -> None:
        while self.answered < clients:
            self.changed.clear()
            await self.changed.wait()

    def broadcast(self, data: bytes) -> None:
        self.loop.run_until_complete(self._broadcast(data + b"\n"))

    async def _broadcast(self, line: bytes) -> None:
        for writer in self.writers:
            writer.write(line)
        for writer in self.writers:
            await writer.drain()
        # A loop that writes at the end of its iteration does so now.
        await asyncio.sleep(0)


def serve(new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    idle_server.serve(Server(new_loop()))
