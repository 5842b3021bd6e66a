"""What the pytest-benchmark groups share: sockets that take what a round has sent."""

import socket
from collections.abc import Callable, Iterator

import pytest

Address = tuple[str, int]


def drain(peers: list[socket.socket], length: int) -> None:
    """Takes so many bytes of each, which are there or on their way; the kernel throws them away."""
    for peer in peers:
        left = length
        while left:
            left -= len(peer.recv(left))


@pytest.fixture
def dial() -> Iterator[Callable[[Address, int], list[socket.socket]]]:
    """Connects plain sockets to an address, and closes them in the end."""
    opened: list[socket.socket] = []

    def connect(address: Address, count: int) -> list[socket.socket]:
        for _ in range(count):
            opened.append(socket.create_connection(address, timeout=10))
        return opened

    yield connect
    for peer in opened:
        peer.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A plain listening socket on a free port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def pairs(
    listener: socket.socket, dial: Callable[[Address, int], list[socket.socket]]
) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """100 plain sockets of a server, and of its clients."""
    clients = dial(listener.getsockname(), 100)
    servers = [listener.accept()[0] for _ in clients]
    for sock in servers:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield servers, clients
    for sock in servers:
        sock.close()
