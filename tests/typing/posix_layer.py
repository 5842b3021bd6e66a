"""What mypy --strict makes of the POSIX layer's API; an ignore that is not needed is an error."""

import socket
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from fastsock import net, posix
from fastsock.posix.sockets import Socket, create_connection, create_server, socketpair


def raw_calls(fd: int, floats: npt.NDArray[np.float64]) -> None:
    assert_type(posix.socket(socket.AF_INET, socket.SOCK_STREAM | posix.SOCK_NONBLOCK), int)
    assert_type(posix.pipe(posix.O_NONBLOCK), tuple[int, int])
    assert_type(posix.accept(fd), tuple[int, Any])
    assert_type(posix.send(fd, floats, posix.MSG_DONTWAIT | posix.MSG_NOSIGNAL), int)
    assert_type(posix.recv(fd, 10), bytes)
    assert_type(posix.recv_into(fd, floats), int)
    assert_type(posix.getsockopt(fd, 1, 2), int)
    assert_type(posix.getsockopt(fd, 1, 2, 8), bytes)
    assert_type(posix.recvmsg(fd, 10)[2], posix.MsgFlag)
    assert_type(posix.poll([(fd, posix.POLLIN)], 0.5), list[tuple[int, posix.PollFlag]])
    assert_type(posix.MSG_PEEK | posix.MSG_TRUNC, posix.MsgFlag)
    addresses: list[posix.Address] = [("::1", 1), ("::1", 1, 0, 0), "/x", b"\0x", Path("/x")]
    for address in addresses:
        posix.bind(fd, address)


def wrong_raw_calls(fd: int) -> None:
    posix.send(fd, "text")  # type: ignore[arg-type]
    posix.send("3", b"")  # type: ignore[arg-type]
    posix.bind(fd, ["127.0.0.1", 1])  # type: ignore[arg-type]
    posix.connect(fd, ("127.0.0.1",))  # type: ignore[arg-type]
    posix.recv(fd)  # type: ignore[call-arg]


def batches(fds: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> None:
    rows = np.zeros((4, 8), np.uint8)
    assert_type(posix.send_each(fds, b"x"), npt.NDArray[np.int64])
    assert_type(posix.send_each(fds, [b"x", b"y"], out=lengths), npt.NDArray[np.int64])
    assert_type(posix.recv_each(fds, rows), npt.NDArray[np.int64])
    assert_type(posix.sendmmsg(3, rows, lengths, ("127.0.0.1", 1)), int)
    assert_type(posix.recvmmsg(3, [bytearray(4)], lengths, addresses=rows), int)
    posix.recvmmsg(3, rows, lengths, addresses=("127.0.0.1", 1))  # type: ignore[arg-type]
    posix.send_each([3], b"x")  # type: ignore[call-overload]


def sockets(lengths: npt.NDArray[np.int64]) -> None:
    assert_type(create_connection(("127.0.0.1", 1), timeout=3), Socket)
    assert_type(create_server(("127.0.0.1", 1)).accept(), tuple[Socket, Any])
    assert_type(socketpair(), tuple[Socket, Socket])
    standard: socket.socket = Socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert_type(standard.send(b"x"), int)
    with Socket() as sock:
        assert_type(sock, Socket)
        assert_type(sock.send(lengths), int)
        assert_type(sock.recv(3), bytes)
        assert_type(sock.sendall(b"x"), None)
        assert_type(sock.send_many([b"x"]), int)
        assert_type(sock.recv_many([bytearray(1)], lengths), int)
        sock.send_many(3)  # type: ignore[arg-type]


def network() -> None:
    assert_type(net.free_port("::1", type=socket.SOCK_DGRAM), int)
    (record, *_) = net.interfaces()
    assert_type(record.flags, posix.InterfaceFlag)
    assert_type(record.address, str | None)
    assert_type(net.resolve("localhost").addresses, tuple[str, ...])
    record.name = "other"  # type: ignore[misc]
