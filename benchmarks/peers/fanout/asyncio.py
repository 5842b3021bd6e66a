"""asyncio, written the plain way: one transport.write per client and message.

Flow control is the one of its documentation ("Write Flow Control" of asyncio's protocols): a
transport whose buffer passes the high-water mark calls pause_writing, and the publisher waits until
every transport has called resume_writing. Transports set TCP_NODELAY by themselves.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import cast

from benchmarks.ends import publisher
from benchmarks.harness.load import Load, Pace

CHUNK = 16
HIGH_WATER = 1 << 16  # asyncio's own default


class Client(asyncio.Protocol):
    """One connection, which tells the server when it is too slow and when it has caught up."""

    def __init__(self, owner: "Server") -> None:
        self.owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.owner.join(cast(asyncio.WriteTransport, transport))

    def pause_writing(self) -> None:
        self.owner.paused += 1
        self.owner.flowing.clear()

    def resume_writing(self) -> None:
        self.owner.paused -= 1
        if not self.owner.paused:
            self.owner.flowing.set()


class Server:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transports: list[asyncio.WriteTransport] = []
        self.arrived = asyncio.Event()
        self.paused = 0
        self.flowing = asyncio.Event()
        listening = loop.create_server(lambda: Client(self), "127.0.0.1", 0, backlog=4096)
        self.listener = loop.run_until_complete(listening)
        self.port = self.listener.sockets[0].getsockname()[1]

    def accept(self, count: int) -> None:
        self.loop.run_until_complete(self._accept(count))

    def burst(self, load: Load) -> None:
        self.publish(lines(load), HIGH_WATER)

    def single(self, load: Load) -> None:
        """With a high-water mark of 0 a transport is paused as long as it holds a byte back."""
        self.publish(lines(load), 0)

    def pace(self, pace: Pace) -> None:
        self.loop.run_until_complete(self._pace(pace))

    def publish(self, blocks: Iterable[bytes], high_water: int) -> None:
        """Writes each block to every client, and waits at the end until the kernel has it all."""
        self.loop.run_until_complete(self._publish(blocks, high_water))

    def join(self, transport: asyncio.WriteTransport) -> None:
        self.transports.append(transport)
        self.arrived.set()

    async def _accept(self, count: int) -> None:
        while len(self.transports) < count:
            self.arrived.clear()
            await self.arrived.wait()

    async def wait_flowing(self) -> None:
        """Waits until no transport is above its mark."""
        await self.flowing.wait()

    async def _publish(self, blocks: Iterable[bytes], high_water: int) -> None:
        await self._flow(high_water)
        writes = [transport.write for transport in self.transports]
        for block in blocks:
            for write in writes:
                write(block)
            if self.paused:
                await self.wait_flowing()
                writes = [transport.write for transport in self.transports]
        await self._flow(0)

    async def _pace(self, pace: Pace) -> None:
        writes = [transport.write for transport in self.transports]
        for due, message in pace.due():
            while monotonic() < due:
                await asyncio.sleep(0)
            line = message + b"\n"
            for write in writes:
                write(line)
            if self.paused:
                await self.flowing.wait()
        await self._flow(0)

    async def _flow(self, high_water: int) -> None:
        """Sets the mark, which pauses every transport that is above it, and waits for those."""
        for transport in self.transports:
            transport.set_write_buffer_limits(high=high_water)
        if self.paused:
            await self.wait_flowing()


def lines(load: Load) -> Iterator[bytes]:
    """Each message with its newline."""
    for chunk in load.chunks(CHUNK):
        for message in chunk:
            yield message + b"\n"


def serve(new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    publisher.serve(Server(new_loop()))
