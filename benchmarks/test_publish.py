"""What one publish costs the publisher, however many clients there are.

Each round publishes 32 KiB, below what makes a broadcast flush; the flush is in the set-up.
"""

from collections import deque

import pytest

from benchmarks.conftest import drain
from fastsock import MultiServer

MESSAGE = b"x" * 64
COUNT = 500
ROUNDS = 200
GROUP = pytest.mark.benchmark(group=f"publish: {COUNT} messages of 64 bytes")


class Log:
    """A log of framed messages, and where each begins, in plain Python."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.starts = []

    def append(self, message: bytes) -> None:
        if b"\n" in message:
            raise ValueError("a newline in a message")
        self.starts.append(len(self.bytes))
        self.bytes += message
        self.bytes += b"\n"


def publish(write):
    for _ in range(COUNT):
        write(MESSAGE)


@GROUP
@pytest.mark.parametrize(
    ("contender", "clients"), [(f"fastsock, {count} clients", count) for count in (0, 1, 100, 1000)]
)
def test_broadcast(benchmark, dial, contender, clients):
    with MultiServer(("127.0.0.1", 0), linger=0.1, slow_grace=60) as server:
        peers = dial(server.address, clients)
        server.wait_connections(clients, timeout=10)

        def take():
            server.flush()
            drain(peers, COUNT * (len(MESSAGE) + 1))

        publish(server.broadcast)
        benchmark.pedantic(publish, (server.broadcast,), setup=take, rounds=ROUNDS)
        take()


@GROUP
@pytest.mark.parametrize("contender", ["a log in Python"])
def test_log(benchmark, contender):
    benchmark.pedantic(publish, setup=lambda: ((Log().append,), {}), rounds=ROUNDS)


@GROUP
@pytest.mark.parametrize("contender", ["a deque for each of 100 clients"])
def test_deques(benchmark, contender):
    def fresh():
        queues = [deque() for _ in range(100)]

        def write(message):
            framed = message + b"\n"
            for queue in queues:
                queue.append(framed)

        return (write,), {}

    benchmark.pedantic(publish, setup=fresh, rounds=ROUNDS // 10)
