"""What one publish costs the publisher, however many clients there are.

Each round publishes 32 KiB, below what makes a broadcast flush; the flush is in the set-up.
"""

import io
import socket

import pytest

from fastsock import MultiServer

MESSAGE = b"x" * 64
COUNT = 500
ROUNDS = 200


def publish(write):
    for _ in range(COUNT):
        write(MESSAGE)


@pytest.mark.benchmark(group="publish 500 messages of 64 bytes")
@pytest.mark.parametrize("clients", [0, 1, 100, 1000])
def test_broadcast(benchmark, clients):
    scratch = bytearray(1 << 16)
    with MultiServer(("127.0.0.1", 0), linger=0.1, slow_grace=60) as server:
        peers = [socket.create_connection(server.address) for _ in range(clients)]
        server.wait_connections(clients, timeout=10)

        def flush():
            server.flush()
            for peer in peers:
                # Thrown away by the kernel (tcp(7)); only what is there already.
                peer.recv_into(scratch, 0, socket.MSG_TRUNC | socket.MSG_DONTWAIT)

        server.broadcast(MESSAGE)
        benchmark.pedantic(publish, (server.broadcast,), setup=flush, rounds=ROUNDS)
        for peer in peers:
            peer.close()


@pytest.mark.benchmark(group="publish 500 messages of 64 bytes")
def test_bytesio_write(benchmark):
    benchmark.pedantic(publish, (io.BytesIO().write,), rounds=ROUNDS)
