"""fastsock.Socket: the socket module's class with faster hot calls and batch calls."""

from __future__ import annotations

import socket as std
import time
from typing import TYPE_CHECKING, Any, cast

from fastsock import posix
from fastsock.posix import _socket

if TYPE_CHECKING:
    from fastsock.posix._buffers import Buffer, Buffers

__all__ = ["Socket", "create_connection", "create_server", "socketpair"]

# Plain ints: an operation on an enum costs as much as a system call.
_NOW = int(std.MSG_DONTWAIT)
_STREAM = int(std.SOCK_STREAM)


class Socket(std.socket):
    """A socket.socket: what it promises holds, and it goes wherever one goes.

    send, sendall, recv and recv_into cost less: they make one system call while the kernel can
    serve it, do not hand the GIL over for that, and do not poll first when there is a timeout.
    send_many and recv_many move many datagrams in one call. accept returns Sockets.
    """

    __slots__ = ()

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        if self.fileno() >= 0:
            raise RuntimeError("__init__ of this Socket has run already: make another Socket")
        super().__init__(family, type, proto, fileno)

    send = _socket.send
    sendall = _socket.sendall
    recv = _socket.recv
    recv_into = _socket.recv_into

    def accept(self) -> tuple[Socket, Any]:
        """Waits for a connection; returns (Socket, address of the client)."""
        sock, address = super().accept()
        return _adopt(sock), address

    def send_many(
        self,
        buffers: Buffers,
        lengths: Buffer | None = None,
        addresses: posix.Address | Buffer | None = None,
        flags: int = 0,
    ) -> int:
        """Sends each buffer as one datagram (sendmmsg(2)); returns how many the kernel took.

        buffers: an array of shape (count, size), or a list or tuple of buffers; lengths and
        addresses: see fastsock.posix.sendmmsg. Waits for room for the first, as long as the
        timeout allows, then raises TimeoutError. Raises ValueError on a stream socket.
        """
        _refuse_stream(self, "send_many")
        deadline = None
        while True:
            try:
                return posix.sendmmsg(self.fileno(), buffers, lengths, addresses, flags | _NOW)
            except BlockingIOError as full:
                deadline = self._wait(posix.POLLOUT, deadline, full)

    def recv_many(
        self,
        buffers: Buffers,
        lengths: Buffer,
        addresses: Buffer | None = None,
        segments: Buffer | None = None,
        flags: int = 0,
    ) -> int:
        """Receives one datagram into each buffer (recvmmsg(2)); returns how many came.

        buffers: a writable array of shape (count, size), or a list or tuple of writable buffers;
        lengths, addresses and segments receive what fastsock.posix.recvmmsg says. Waits for the
        first, as long as the timeout allows, then raises TimeoutError. Raises ValueError on a
        stream socket.
        """
        _refuse_stream(self, "recv_many")
        deadline = None
        while True:
            try:
                return posix.recvmmsg(
                    self.fileno(), buffers, lengths, addresses, segments, flags | _NOW
                )
            except BlockingIOError as empty:
                deadline = self._wait(posix.POLLIN, deadline, empty)

    def _wait(self, event: int, deadline: float | None, error: BlockingIOError) -> float | None:
        """Waits for the event until the deadline, which begins with the first wait."""
        timeout = self.gettimeout()
        if timeout == 0:
            raise error
        left = None
        if timeout is not None:
            deadline = deadline or time.monotonic() + timeout
            left = max(0.0, deadline - time.monotonic())
        if not posix.poll([(self.fileno(), event)], left):
            raise TimeoutError("timed out")
        return deadline


def _refuse_stream(sock: Socket, call: str) -> None:
    # The C attribute: the property of the Python class makes an enum of it each time.
    if std.SocketType.type.__get__(sock) == _STREAM:
        raise ValueError(f"{call} moves datagrams, and this is a SOCK_STREAM socket")


def _adopt(sock: std.socket) -> Socket:
    """Makes a Socket of a socket.socket: the same object, descriptor and timeout."""
    sock.__class__ = Socket
    return cast(Socket, sock)


def create_connection(
    address: tuple[str | None, int | str],
    timeout: float | None = std._GLOBAL_DEFAULT_TIMEOUT,  # type: ignore[attr-defined]
    source_address: tuple[str, int] | None = None,
    *,
    all_errors: bool = False,
) -> Socket:
    """socket.create_connection that returns a Socket."""
    sock = std.create_connection(address, timeout, source_address, all_errors=all_errors)
    return _adopt(sock)


def create_server(
    address: Any,
    *,
    family: int = std.AF_INET,
    backlog: int | None = None,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
) -> Socket:
    """socket.create_server that returns a Socket."""
    sock = std.create_server(
        address,
        family=family,
        backlog=backlog,
        reuse_port=reuse_port,
        dualstack_ipv6=dualstack_ipv6,
    )
    return _adopt(sock)


def socketpair(
    family: int | None = None, type: int = std.SOCK_STREAM, proto: int = 0
) -> tuple[Socket, Socket]:
    """socket.socketpair that returns Sockets."""
    first, second = std.socketpair(family, type, proto)
    return _adopt(first), _adopt(second)
