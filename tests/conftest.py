"""What all tests share: nothing is left behind, and waiting has a bound."""

import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from fastsock import MultiServer

WAIT = 30.0
"""Seconds after which a condition that should come about at once is given up, however busy the
machine is."""


ALONE = ("benchmarks", "chat/test_demo.py", "engine/test_memory.py", "test_install.py")
"""Folders and files of tests that load the whole machine: no two of them run beside each other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file is one group for pytest-xdist, so that its module's fixtures are made once."""
    here = Path(__file__).parent
    for item in items:
        name = str(item.path.relative_to(here))
        group = "alone" if name.startswith(ALONE) else name
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logs may hold surrogates, which pytest-xdist cannot send."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def open_descriptors() -> set[str]:
    """The descriptors of this process with what they are open on."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name}: {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds; fails after WAIT seconds."""
    deadline = time.monotonic() + WAIT
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {WAIT} s: {what}")
        pause.wait(0.002)


@pytest.fixture(scope="session", autouse=True)
def what_is_imported_is_no_garbage() -> None:
    """Else each collection of each test looks at all of it, for a quarter of the whole time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> None:
    """Also where the tests were started in the background, whose processes ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No test leaves a descriptor or a thread behind."""
    gc.collect()
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= threads, "threads of the test end")
    left = open_descriptors() - descriptors
    assert not left, f"descriptors left open: {sorted(left)}"


@pytest.fixture
def serve() -> Iterator[Callable[..., MultiServer]]:
    """Makes servers on a free port of 127.0.0.1 and checks that they end with nothing queued."""
    servers: list[MultiServer] = []

    def make(**options: object) -> MultiServer:
        options.setdefault("linger", 0.2)
        server = MultiServer(("127.0.0.1", 0), **options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()
        stats = server.stats()
        assert stats.connections == (), "connections after close()"
        assert stats.queued_bytes == 0, "bytes queued after close()"


@pytest.fixture
def dial() -> Iterator[Callable[[MultiServer], socket.socket]]:
    """Connects plain sockets, which the test's end closes."""
    sockets: list[socket.socket] = []

    def connect(server: MultiServer) -> socket.socket:
        peer = socket.create_connection(server.address, timeout=WAIT)
        sockets.append(peer)
        return peer

    yield connect
    for peer in sockets:
        peer.close()


def read_exactly(peer: socket.socket, size: int) -> bytes:
    """size bytes, or fewer where the stream ends before."""
    parts = []
    while size > 0 and (part := peer.recv(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_to_end(peer: socket.socket) -> bytes:
    """All bytes to the end of the stream."""
    return b"".join(iter(lambda: peer.recv(1 << 16), b""))


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Threads take turns as often as they can, so that what is not atomic shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
