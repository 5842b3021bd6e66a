"""Readers that are slow, not dead: who is told from the rest, and who is not."""

import socket
import threading
import time
from contextlib import suppress

import pytest
from conftest import WAIT

from fastsock import LogFull, MultiServer, Reason

GRACE = 0.2
BOUND = 10.0
"""Seconds: 50 graces."""


@pytest.fixture
def readers():
    """Sockets that read so many bytes, so often, until they or the test end."""
    over, threads, sockets = threading.Event(), [], []

    def read(peer, size, every):
        try:
            while not over.wait(every) and peer.recv(size):
                continue
        except OSError:
            pass

    def start(server, size=1 << 20, every=0.0):
        family = socket.AF_UNIX if isinstance(server.address, str) else socket.AF_INET
        peer = socket.socket(family)
        sockets.append(peer)
        peer.connect(server.address)
        threads.append(threading.Thread(target=read, args=(peer, size, every)))
        threads[-1].start()

    yield start
    over.set()
    for peer in sockets:
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(WAIT)
    for peer in sockets:
        peer.close()


@pytest.fixture(params=["tcp", "unix"])
def server(request, tmp_path):
    where = ("127.0.0.1", 0) if request.param == "tcp" else str(tmp_path / "s")
    with MultiServer(where, slow_grace=GRACE, linger=0, framing="length") as server:
        yield server.start()


def publish(server, seconds, enough=lambda: False):
    """Publishes as fast as there is room; False when the time is over first."""
    deadline, data = time.monotonic() + seconds, bytes(1000)
    while time.monotonic() < deadline:
        for _ in range(500):
            try:
                server.broadcast(data, timeout=0.1)
            except LogFull:
                break
        if enough():
            return True
    return False


@pytest.mark.parametrize(
    ("size", "every"),
    [(1 << 16, GRACE / 2), (1 << 17, GRACE / 4), (1, GRACE / 8)],
    ids=["in bites", "steadily", "one byte at a time"],
)
def test_who_takes_a_little_in_each_grace_is_slow_all_the_same(server, readers, size, every):
    readers(server)
    readers(server, size, every)
    server.wait_connections(2, timeout=WAIT)
    assert publish(server, BOUND, lambda: server.stats().ended)
    assert server.stats().ended == {Reason.SLOW: 1}
    [healthy] = server.connections
    assert healthy.number == 1


def test_a_burst_among_equals_disconnects_nobody(server, readers):
    for _ in range(4):
        readers(server)
    server.wait_connections(4, timeout=WAIT)
    publish(server, 10 * GRACE)
    assert server.stats().ended == {}


def test_a_reader_that_is_alone_is_not_slow(server, readers):
    readers(server, 1 << 17, GRACE / 4)
    server.wait_connections(1, timeout=WAIT)
    publish(server, 10 * GRACE)
    assert server.stats().ended == {}
