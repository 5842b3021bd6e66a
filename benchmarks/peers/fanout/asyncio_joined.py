"""asyncio with messages joined by hand: as many as fastsock flushes at once, in one write."""

import asyncio
from collections.abc import Iterator

from benchmarks.ends import publisher
from benchmarks.harness.load import Load
from benchmarks.peers.fanout.asyncio import HIGH_WATER, Server

FLUSH_BYTES = 1 << 16


class JoinedServer(Server):
    def burst(self, load: Load) -> None:
        self.publish(joined(load), HIGH_WATER)


def joined(load: Load) -> Iterator[bytes]:
    """Blocks of messages with their newlines, FLUSH_BYTES long or just above."""
    for chunk in load.chunks(-(-FLUSH_BYTES // (load.size + 1))):
        yield b"\n".join(chunk) + b"\n"


def serve() -> None:
    publisher.serve(JoinedServer(asyncio.new_event_loop()))
