"""Fixtures of the POSIX layer's tests: plain descriptors, closed at the test's end."""

import socket
from collections.abc import Callable, Iterator

import pytest

from fastsock import posix


@pytest.fixture
def keep() -> Iterator[Callable[..., tuple[int, ...]]]:
    """Passes descriptors through and closes them in the end, unless the test has."""
    kept: list[int] = []

    def remember(*fds: int) -> tuple[int, ...]:
        kept.extend(fds)
        return fds

    yield remember
    for fd in set(kept):
        try:
            posix.close(fd)
        except OSError:
            continue  # the test has closed it


@pytest.fixture
def pair(keep) -> tuple[int, int]:
    """Two connected UNIX stream sockets."""
    return keep(*posix.socketpair())


@pytest.fixture
def tcp(keep) -> tuple[int, int]:
    """Two connected TCP sockets over 127.0.0.1."""
    (listener,) = keep(posix.socket(socket.AF_INET, socket.SOCK_STREAM))
    posix.bind(listener, ("127.0.0.1", 0))
    posix.listen(listener)
    (client,) = keep(posix.socket(socket.AF_INET, socket.SOCK_STREAM))
    posix.connect(client, posix.getsockname(listener))
    (server,) = keep(posix.accept(listener)[0])
    return client, server


@pytest.fixture
def udp(keep) -> tuple[int, int]:
    """Two UDP sockets over 127.0.0.1, the first connected to the second."""
    first, second = keep(*(posix.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)))
    for fd in first, second:
        posix.bind(fd, ("127.0.0.1", 0))
    posix.connect(first, posix.getsockname(second))
    return first, second
