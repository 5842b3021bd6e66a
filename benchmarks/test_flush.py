"""What it costs to hand messages to the kernel for 100 clients, and how little if they are many."""

import pytest

from benchmarks.conftest import drain
from fastsock import MultiServer

MESSAGE = b"x" * 64
FRAMED = MESSAGE + b"\n"
CLIENTS = 100
BURST = 500
ROUNDS = 20


@pytest.fixture
def served(dial):
    """A server, its sockets of the clients as plain ones, and the clients."""
    with MultiServer(("127.0.0.1", 0), linger=0.1, slow_grace=60) as server:
        clients = dial(server.address, CLIENTS)
        server.wait_connections(CLIENTS, timeout=10)
        yield server, clients


def measure(benchmark, count, clients, move):
    benchmark.group = f"fan-out flush: {count} message{'s'[: count - 1]} to {CLIENTS} clients"
    benchmark.pedantic(
        move, teardown=lambda: drain(clients, count * len(FRAMED)), rounds=ROUNDS, warmup_rounds=1
    )


@pytest.mark.parametrize("contender", ["fastsock"])
@pytest.mark.parametrize("count", [1, BURST])
def test_fastsock(benchmark, served, contender, count):
    server, clients = served

    def move():
        for _ in range(count):
            server.broadcast(MESSAGE)
        server.flush()

    measure(benchmark, count, clients, move)


@pytest.mark.parametrize("contender", ["a send per client and message", "joined by hand"])
@pytest.mark.parametrize("count", [1, BURST])
def test_sockets(benchmark, pairs, contender, count):
    servers, clients = pairs

    def one_by_one():
        for _ in range(count):
            for sock in servers:
                sock.send(FRAMED)

    def joined():
        block = b"".join(MESSAGE + b"\n" for _ in range(count))
        for sock in servers:
            sock.send(block)

    measure(benchmark, count, clients, joined if contender == "joined by hand" else one_by_one)
