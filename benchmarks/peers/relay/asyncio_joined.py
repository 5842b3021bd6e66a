"""asyncio protocols that relay what has arrived, in one write per client, however many messages.

With one speaker at a time no message is torn by another. Flow control is the one of the
documentation: the speaker is not read while the transport of a client is above its mark.
"""

import asyncio
import threading
from typing import cast

from benchmarks.ends import relaying

BACKLOG = 4096
TIMEOUT = 30.0


class Client(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, owner: "Server") -> None:
        self.owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        with self.owner.changed:
            self.owner.clients.append(self)
            self.owner.changed.notify()

    def data_received(self, data: bytes) -> None:
        self.owner.speaker = self.transport
        for client in self.owner.clients:
            if client is not self:
                client.transport.write(data)

    def pause_writing(self) -> None:
        self.owner.paused += 1
        if self.owner.speaker is not None:
            self.owner.speaker.pause_reading()

    def resume_writing(self) -> None:
        self.owner.paused -= 1
        if not self.owner.paused and self.owner.speaker is not None:
            self.owner.speaker.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.owner.clients.remove(self)


class Server:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clients: list[Client] = []
        self.speaker: asyncio.Transport | None = None
        self.paused = 0
        self.changed = threading.Condition()
        listening = self.loop.create_server(lambda: Client(self), "127.0.0.1", 0, backlog=BACKLOG)
        self.port = self.loop.run_until_complete(listening).sockets[0].getsockname()[1]

    def accept(self, count: int) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        with self.changed:
            self.changed.wait_for(lambda: len(self.clients) >= count, TIMEOUT)


def serve() -> None:
    server = Server()
    relaying.serve(server.port, server.accept)
