"""The servers of the demonstration, one in a process: ``python -m fastsock.chat.demo.servers``.

Arguments: which one, and how many clients to wait for. Reads the text from stdin to its end and
writes to stdout the port, and at last the monotonic time when it began to publish. All do the same:
each line of the text goes to every client, and then each connection is closed.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from fastsock import MultiServer

__all__ = ["SERVERS", "lines_of"]

CONNECT_TIMEOUT = 30.0
SLOW_GRACE = 20.0
"""No client is given up because the machine is busy."""
JOINED_BYTES = 1 << 16
"""What is joined by hand: as much as fastsock gathers before it flushes."""


def lines_of(text: bytes) -> list[bytes]:
    """The messages that a text is, each with its newline."""
    return [line + b"\n" for line in text.removesuffix(b"\n").split(b"\n")]


def serve_fastsock(messages: Sequence[bytes], clients: int) -> float:
    """One broadcast per message."""
    with MultiServer(("127.0.0.1", 0), slow_grace=SLOW_GRACE, linger=SLOW_GRACE) as server:
        print(server.address[1], flush=True)
        server.wait_connections(clients, timeout=CONNECT_TIMEOUT)
        begun = time.monotonic()
        for message in messages:
            server.broadcast(message)
        server.drain()
        return begun


def serve_asyncio(messages: Iterable[bytes], clients: int) -> float:
    """One write per client and message, with the flow control that asyncio documents."""
    return asyncio.run(Broadcaster().serve(messages, clients))


def serve_joined(messages: Iterable[bytes], clients: int) -> float:
    """The same with messages joined by hand."""
    return asyncio.run(Broadcaster().serve(joined(messages), clients))


def joined(messages: Iterable[bytes]) -> Iterator[bytes]:
    block: list[bytes] = []
    size = 0
    for message in messages:
        block.append(message)
        size += len(message)
        if size >= JOINED_BYTES:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)


class Broadcaster:
    """The connections of asyncio, and which of them have more than enough to write."""

    def __init__(self) -> None:
        self.transports: set[asyncio.WriteTransport] = set()
        self.full: set[Peer] = set()
        self.changed = asyncio.Event()

    async def serve(self, blocks: Iterable[bytes], clients: int) -> float:
        """Writes each block to every client, and closes them; returns when it began."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Peer(self), "127.0.0.1", 0, backlog=clients)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await self.until(lambda: len(self.transports) == clients)
        begun = time.monotonic()
        for block in blocks:
            for transport in self.transports:
                transport.write(block)
            if self.full:
                await self.until(lambda: not self.full)
        for transport in self.transports:
            transport.close()
        await self.until(lambda: not self.transports)
        server.close()
        return begun

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Peer(asyncio.Protocol):
    """One client; its transport says here when it is above its high-water mark."""

    def __init__(self, owner: Broadcaster) -> None:
        self.owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.owner.transports.add(self.transport)
        self.owner.changed.set()

    def pause_writing(self) -> None:
        self.owner.full.add(self)

    def resume_writing(self) -> None:
        self.owner.full.discard(self)
        self.owner.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.owner.transports.discard(self.transport)
        self.resume_writing()


SERVERS = {
    "fastsock": serve_fastsock,
    "asyncio": serve_asyncio,
    "asyncio, joined by hand": serve_joined,
}


def main() -> None:
    messages = lines_of(sys.stdin.buffer.read())
    print(SERVERS[sys.argv[1]](messages, int(sys.argv[2])), flush=True)


if __name__ == "__main__":
    main()
