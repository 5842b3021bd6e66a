"""The cases of the POSIX benchmark: sockets, and the loops that are compared on them.

All contenders of a case use the same sockets and move the same bytes. What a contender is to find
is put there before, and what it leaves in the kernel is taken out after the time is measured.
"""

import ctypes
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness.build import compiled
from benchmarks.harness.errors import BenchmarkError
from fastsock import posix
from fastsock.posix.sockets import Socket

SIZE = 64
CALLS = 100
DATAGRAMS = 128
SEGMENTS = 64  # what every kernel with UDP_SEGMENT cuts a buffer into
DATA = bytes(range(SIZE))
STANDARD = "socket.socket"
LOOP_C = "C loop"
SHARE_OF_C = 0.95

Move = Callable[[], Any]
"""Moves the bytes of a case once; a float that it returns is the seconds that it took."""

Pair = tuple[socket.socket, socket.socket]


@dataclass
class Case:
    """Contenders that do the same `count` operations in a round."""

    name: str
    count: int
    contenders: dict[str, Move]
    reference: str
    """The contender that the targets speak of."""
    targets: dict[str, float]
    """The multiple of the reference's speed that a contender is to reach."""
    before: Callable[[], None]
    after: Callable[[], bytes]
    """Takes what was moved, and returns it."""
    expected: bytes


def loops() -> ctypes.CDLL:
    """The loops in C (csrc/posix_loops.c)."""
    library = ctypes.CDLL(str(compiled("posix_loops", "-shared", "-fPIC")))
    for name in "send", "recv", "send_each", "recv_each", "sendmmsg", "recvmmsg":
        function = getattr(library, f"loop_{name}")
        function.restype = ctypes.c_double
        function.errcheck = _moved
    return library


def _moved(seconds: float, *_: object) -> float:
    if seconds < 0:
        raise BenchmarkError("a loop in C moved too little")
    return seconds


def at(array: np.ndarray) -> ctypes.c_void_p:
    """The place of an array's items, for C."""
    return ctypes.c_void_p(array.ctypes.data)


# ---- Sockets ----


def unix() -> Pair:
    return socket.socketpair()


def tcp() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    first.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return first, second


def udp() -> Pair:
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    second.bind(("127.0.0.1", 0))
    first.connect(second.getsockname())
    return first, second


@contextmanager
def fast(sock: socket.socket) -> Iterator[Socket]:
    """A Socket on the descriptor of a socket, which keeps it."""
    twin = Socket(sock.family, sock.type, sock.proto, fileno=sock.fileno())
    twin.settimeout(sock.gettimeout())
    try:
        yield twin
    finally:
        twin.detach()


def repeated(call: Callable[..., object], *arguments: object, count: int = CALLS) -> Move:
    def move() -> None:
        for _ in range(count):
            call(*arguments)

    return move


def taking(sock: socket.socket, size: int) -> Callable[[], bytes]:
    """Receives as many bytes, however long they take to come."""
    return lambda: sock.recv(size, socket.MSG_WAITALL)


# ---- One call, one descriptor ----


@contextmanager
def send(where: str, pair: Callable[[], Pair]) -> Iterator[Case]:
    """send of 64 bytes."""
    first, second = pair()
    with first, second, fast(first) as twin:
        c_loop = partial(loops().loop_send, first.fileno(), DATA, SIZE, CALLS)
        yield Case(
            name=f"send, {where}",
            count=CALLS,
            contenders={
                STANDARD: repeated(first.send, DATA),
                LOOP_C: c_loop,
                "posix.send": repeated(posix.send, first.fileno(), DATA),
                "Socket.send": repeated(twin.send, DATA),
            },
            reference=STANDARD,
            targets={"posix.send": 1.0, "Socket.send": 1.0},
            before=lambda: None,
            after=taking(second, CALLS * SIZE),
            expected=CALLS * DATA,
        )


@contextmanager
def recv_into(where: str, pair: Callable[[], Pair]) -> Iterator[Case]:
    """recv_into of 64 bytes that are there."""
    first, second = pair()
    buffer = bytearray(SIZE)
    c_buffer = (ctypes.c_char * SIZE).from_buffer(buffer)
    with first, second, fast(second) as twin:
        c_loop = partial(loops().loop_recv, second.fileno(), c_buffer, SIZE, CALLS)
        yield Case(
            name=f"recv_into, {where}",
            count=CALLS,
            contenders={
                STANDARD: repeated(second.recv_into, buffer),
                LOOP_C: c_loop,
                "posix.recv_into": repeated(posix.recv_into, second.fileno(), buffer),
                "Socket.recv_into": repeated(twin.recv_into, buffer),
            },
            reference=STANDARD,
            targets={"posix.recv_into": 1.0, "Socket.recv_into": 1.0},
            before=lambda: first.sendall(CALLS * DATA),
            after=lambda: bytes(buffer),
            expected=DATA,
        )


@contextmanager
def with_timeout() -> Iterator[Case]:
    """send and recv_into of 64 bytes on sockets with a timeout, where the socket module polls."""
    first, second = tcp()
    first.settimeout(5)
    second.settimeout(5)
    buffer = bytearray(SIZE)

    def there_and_back(sender: socket.socket, receiver: socket.socket) -> Move:
        def move() -> None:
            for _ in range(CALLS):
                sender.send(DATA)
                receiver.recv_into(buffer)

        return move

    with first, second, fast(first) as fast_first, fast(second) as fast_second:
        yield Case(
            name="send, recv_into, timeout, TCP",
            count=CALLS,
            contenders={
                STANDARD: there_and_back(first, second),
                "Socket": there_and_back(fast_first, fast_second),
            },
            reference=STANDARD,
            targets={"Socket": 1.0},
            before=lambda: None,
            after=lambda: bytes(buffer),
            expected=DATA,
        )


@contextmanager
def beside_a_busy_thread() -> Iterator[Case]:
    """send of 64 bytes while another thread computes, which gets each GIL that is handed over."""
    first, second = tcp()
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            sum(range(100))

    thread = threading.Thread(target=compute)
    with first, second, fast(first) as twin:
        thread.start()
        try:
            yield Case(
                name="send, busy thread, TCP",
                count=5,
                contenders={
                    STANDARD: repeated(first.send, DATA, count=5),
                    "posix.send DONTWAIT": repeated(
                        posix.send, first.fileno(), DATA, socket.MSG_DONTWAIT, count=5
                    ),
                    "Socket.send": repeated(twin.send, DATA, count=5),
                },
                reference=STANDARD,
                targets={"posix.send DONTWAIT": 1.0, "Socket.send": 1.0},
                before=lambda: None,
                after=taking(second, 5 * SIZE),
                expected=5 * DATA,
            )
        finally:
            ended.set()
            thread.join()


# ---- Many descriptors ----


@contextmanager
def many_pairs() -> Iterator[list[Pair]]:
    with ExitStack() as opened:
        pairs = [unix() for _ in range(CALLS)]
        for pair in pairs:
            for sock in pair:
                opened.enter_context(sock)
        yield pairs


@contextmanager
def send_each() -> Iterator[Case]:
    """64 bytes to each of 100 descriptors."""
    with many_pairs() as pairs:
        fds = np.array([near.fileno() for near, _ in pairs], np.int32)
        out = np.zeros(CALLS, np.int64)

        def standard() -> None:
            for near, _ in pairs:
                near.send(DATA)

        yield Case(
            name=f"send_each, {CALLS} descriptors",
            count=CALLS,
            contenders={
                STANDARD: standard,
                LOOP_C: partial(loops().loop_send_each, at(fds), CALLS, DATA, SIZE, at(out)),
                "posix.send_each": partial(posix.send_each, fds, DATA, out=out),
            },
            reference=LOOP_C,
            targets={"posix.send_each": SHARE_OF_C},
            before=lambda: None,
            after=lambda: b"".join(far.recv(SIZE) for _, far in pairs),
            expected=CALLS * DATA,
        )


@contextmanager
def recv_each() -> Iterator[Case]:
    """64 bytes from each of 100 descriptors."""
    with many_pairs() as pairs:
        fds = np.array([far.fileno() for _, far in pairs], np.int32)
        rows = np.zeros((CALLS, SIZE), np.uint8)
        views = [memoryview(row) for row in rows]
        out = np.zeros(CALLS, np.int64)

        def standard() -> None:
            for (_, far), view in zip(pairs, views, strict=True):
                far.recv_into(view)

        def fill() -> None:
            rows.fill(0)
            for near, _ in pairs:
                near.send(DATA)

        yield Case(
            name=f"recv_each, {CALLS} descriptors",
            count=CALLS,
            contenders={
                STANDARD: standard,
                LOOP_C: partial(loops().loop_recv_each, at(fds), CALLS, at(rows), SIZE, at(out)),
                "posix.recv_each": partial(posix.recv_each, fds, rows, out=out),
            },
            reference=LOOP_C,
            targets={"posix.recv_each": SHARE_OF_C},
            before=fill,
            after=rows.tobytes,
            expected=CALLS * DATA,
        )


# ---- Many datagrams ----


@contextmanager
def sendmmsg() -> Iterator[Case]:
    """128 datagrams of 64 bytes in one call."""
    first, second = udp()
    rows = np.frombuffer(DATAGRAMS * DATA, np.uint8).reshape(DATAGRAMS, SIZE)
    with first, second, fast(first) as twin:
        c_loop = partial(loops().loop_sendmmsg, first.fileno(), at(rows), DATAGRAMS, SIZE)
        yield Case(
            name=f"sendmmsg, {DATAGRAMS} datagrams",
            count=DATAGRAMS,
            contenders={
                STANDARD: repeated(first.send, DATA, count=DATAGRAMS),
                LOOP_C: c_loop,
                "posix.sendmmsg": partial(posix.sendmmsg, first.fileno(), rows),
                "Socket.send_many": partial(twin.send_many, rows),
            },
            reference=LOOP_C,
            targets={"posix.sendmmsg": SHARE_OF_C},
            before=lambda: None,
            after=lambda: b"".join(second.recv(SIZE) for _ in range(DATAGRAMS)),
            expected=DATAGRAMS * DATA,
        )


@contextmanager
def recvmmsg() -> Iterator[Case]:
    """128 datagrams of 64 bytes that are there, in one call."""
    first, second = udp()
    rows = np.zeros((DATAGRAMS, SIZE), np.uint8)
    views = [memoryview(row) for row in rows]
    lengths = np.zeros(DATAGRAMS, np.int64)

    def standard() -> None:
        for view in views:
            second.recv_into(view)

    def fill() -> None:
        rows.fill(0)
        for _ in range(DATAGRAMS):
            first.send(DATA)

    with first, second, fast(second) as twin:
        fd = second.fileno()
        c_loop = partial(loops().loop_recvmmsg, fd, at(rows), DATAGRAMS, SIZE, at(lengths))
        yield Case(
            name=f"recvmmsg, {DATAGRAMS} datagrams",
            count=DATAGRAMS,
            contenders={
                STANDARD: standard,
                LOOP_C: c_loop,
                "posix.recvmmsg": partial(posix.recvmmsg, fd, rows, lengths),
                "Socket.recv_many": partial(twin.recv_many, rows, lengths),
            },
            reference=LOOP_C,
            targets={"posix.recvmmsg": SHARE_OF_C},
            before=fill,
            after=rows.tobytes,
            expected=DATAGRAMS * DATA,
        )


@contextmanager
def offload() -> Iterator[Case]:
    """64 datagrams of 64 bytes sent and received; the kernel cuts and joins them for fastsock."""
    buffer = bytearray(SEGMENTS * SIZE)
    views = [memoryview(buffer)[at : at + SIZE] for at in range(0, len(buffer), SIZE)]
    data = SEGMENTS * DATA
    plain, cut = udp(), udp()
    cut[0].setsockopt(socket.SOL_UDP, posix.UDP_SEGMENT, SIZE)
    cut[1].setsockopt(socket.SOL_UDP, posix.UDP_GRO, 1)

    def one_by_one() -> None:
        for _ in views:
            plain[0].send(DATA)
        for view in views:
            plain[1].recv_into(view)

    def joined() -> None:
        posix.send(cut[0].fileno(), data)
        posix.recv_into(cut[1].fileno(), buffer)

    with plain[0], plain[1], cut[0], cut[1]:
        yield Case(
            name=f"offload, {SEGMENTS} datagrams",
            count=SEGMENTS,
            contenders={STANDARD: one_by_one, "posix": joined},
            reference=STANDARD,
            targets={"posix": 3.0},
            before=lambda: buffer.__setitem__(slice(None), bytes(len(buffer))),
            after=lambda: bytes(buffer),
            expected=data,
        )


CASES: dict[str, Callable[[], AbstractContextManager[Case]]] = {
    "send-unix": partial(send, "UNIX", unix),
    "send-tcp": partial(send, "TCP", tcp),
    "recv-unix": partial(recv_into, "UNIX", unix),
    "recv-tcp": partial(recv_into, "TCP", tcp),
    "timeout": with_timeout,
    "busy": beside_a_busy_thread,
    "send_each": send_each,
    "recv_each": recv_each,
    "sendmmsg": sendmmsg,
    "recvmmsg": recvmmsg,
    "offload": offload,
}
