"""asyncio streams, written the plain way: readline, one write per client and message, drain."""

import asyncio
import threading
from collections.abc import Callable

from benchmarks.ends import relaying

LINE_MAX = 1 << 17
BACKLOG = 4096
TIMEOUT = 30.0


class Server:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.writers: set[asyncio.StreamWriter] = set()
        self.changed = threading.Condition()
        listening = asyncio.start_server(
            self.serve, "127.0.0.1", 0, limit=LINE_MAX, backlog=BACKLOG
        )
        self.port = loop.run_until_complete(listening).sockets[0].getsockname()[1]

    def accept(self, count: int) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        with self.changed:
            self.changed.wait_for(lambda: len(self.writers) >= count, TIMEOUT)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self.changed:
            self.writers.add(writer)
            self.changed.notify()
        while line := await reader.readline():
            others = [other for other in self.writers if other is not writer]
            for other in others:
                other.write(line)
            for other in others:
                await other.drain()


def serve(new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    server = Server(new_loop())
    relaying.serve(server.port, server.accept)
