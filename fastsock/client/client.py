"""The other end of a server: one connection that sends and receives messages."""

import errno
import os
import random
import socket
import time
from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

from fastsock.client.endpoint import Endpoint
from fastsock.core import address as addresses
from fastsock.core.handed import Handed, check_connected, take
from fastsock.core.options import StreamOptions, check_seconds, check_timeout, takes

__all__ = ["Client"]

RETRY_FIRST = 0.05
RETRY_MOST = 2.0
"""Seconds between attempts to connect."""
BACKLOG_PAUSE_FIRST = 0.001
BACKLOG_PAUSE_MOST = 0.05
"""Seconds between attempts if the backlog of a UNIX server is full."""


@dataclass(frozen=True, kw_only=True)
class ConnectOptions(StreamOptions):
    """What :meth:`Client.connect` can be told. Raises TypeError or ValueError for a value that
    cannot be."""

    address: addresses.Address = field(kw_only=False)
    """``(host, port)``, the path of a UNIX socket, or ``"@name"`` for one in the abstract
    namespace."""
    timeout: float | None = None
    """Seconds for looking up the name and trying its addresses. What is left is shared out evenly
    among the addresses that are left. None: as long as the resolver and the kernel take."""
    retry: float = 0.0
    """Try again for so many seconds, with pauses that double from 0.05 to 2 s and vary at random,
    so that many clients do not come back at once. Without a timeout, each attempt also takes at
    most so long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seconds("retry", self.retry)
        check_timeout(self.timeout)


@dataclass(frozen=True, kw_only=True)
class SocketOptions(StreamOptions):
    """What :meth:`Client.from_socket` can be told."""

    socket: Handed = field(kw_only=False)
    """A connected stream socket, or its descriptor."""


class Client(Endpoint):
    """One connection to a server, framed as the server's. Made by :meth:`Client.connect`, or
    :meth:`Client.from_socket`."""

    @classmethod
    @takes(ConnectOptions)
    def connect(cls, options: ConnectOptions) -> Self:
        """Connect to ``address``: ``(host, port)``, the path of a UNIX socket, or ``"@name"`` for
        one in the abstract namespace.

        A host of several addresses is tried in the order of RFC 6724. The other arguments are
        keyword-only: the fields of :class:`ConnectOptions`, which says what each does.

        Raises ValueError or TypeError for an argument that cannot be, OSError if nobody listens,
        TimeoutError.
        """
        return cls._connect(options)

    @classmethod
    def _connect(cls, options: ConnectOptions) -> Self:
        retry, timeout = options.retry, check_timeout(options.timeout)
        deadline, pause = time.monotonic() + retry, RETRY_FIRST
        limit = retry if timeout is None and retry else timeout
        while True:
            try:
                client = cls._connect_any(options, limit)
                break
            except OSError:
                varied = pause * random.uniform(0.5, 1.0)
                if time.monotonic() + varied > deadline:
                    raise
                time.sleep(varied)
                pause = min(2 * pause, RETRY_MOST)
        client._options = options
        client._linger = options.linger
        return client

    @classmethod
    def _connect_any(cls, options: ConnectOptions, timeout: float | None) -> Self:
        """Connect to the first of the host's addresses that answers."""
        address = options.address
        failure: OSError | None = None
        until = inf if timeout is None else time.monotonic() + timeout
        try:
            found = addresses.resolve(address, timeout=timeout)
        except TimeoutError as error:
            shown = addresses.show(addresses.check(address))
            raise TimeoutError(f"cannot connect to {shown}: {error}") from None
        for place, (family, sockaddr) in enumerate(found):
            share: float | None = None
            if timeout is not None:
                share = max(0.0, until - time.monotonic()) / (len(found) - place)
            try:
                client = cls._connect_one(family, sockaddr, options, share)
            except OSError as error:
                failure = error
                continue
            client.peer = addresses.plain_of(sockaddr)
            return client
        assert failure is not None, "resolve() returns an address or raises"
        shown = addresses.show(addresses.check(address))
        if failure.errno is None:
            raise TimeoutError(f"cannot connect to {shown}: not connected after {timeout:.3g} s")
        raise OSError(failure.errno, f"cannot connect to {shown}: {os.strerror(failure.errno)}")

    @classmethod
    def _connect_one(
        cls,
        family: int,
        sockaddr: addresses.Sockaddr,
        options: StreamOptions,
        timeout: float | None,
    ) -> Self:
        """Connect to one address. A UNIX server whose backlog is full refuses at once, and nothing
        tells when it has room (connect(2)): try again and again."""
        until = inf if timeout is None else time.monotonic() + timeout
        pause = BACKLOG_PAUSE_FIRST
        while True:
            client = cls.__new__(cls)
            try:
                client._open(family, sockaddr, options, timeout)
            except BaseException as error:
                client._close(0.0)  # Not later, with the exception, which holds the client.
                full = isinstance(error, OSError) and error.errno == errno.EAGAIN
                if family != socket.AF_UNIX or not full:
                    raise
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"not connected after {timeout:.3g} s") from None
            else:
                return client
            time.sleep(min(pause, left))
            pause = min(2 * pause, BACKLOG_PAUSE_MOST)

    @classmethod
    @takes(SocketOptions)
    def from_socket(cls, options: SocketOptions) -> Self:
        """Take over a connected stream socket, or its descriptor: one end of a ``socketpair``,
        what an ``accept`` has returned, stdin of a service of inetd.

        ``close()`` closes it; a socket object is closed at once. The other arguments are
        keyword-only: the fields of :class:`fastsock.core.options.StreamOptions`, as for
        :meth:`connect`. Raises TypeError or ValueError for what is no connected stream socket,
        OSError for a descriptor that is not open; then it is still the caller's.
        """
        fd, peer = check_connected(options.socket)
        os.set_inheritable(fd, False)
        client = cls._adopted(fd, peer, options)
        take(options.socket)
        return client

    def reconnect(self, *, retry: float = 0.0) -> Self:
        """Close this client and return a new one, connected to the same address with the same
        options; ``retry`` and errors are those of :meth:`connect`. What was not sent is lost.
        RuntimeError if the socket was handed in: it is not known how to connect another one.

        In a forked child that has a client of its parent it makes a connection of the child's own.
        """
        check_seconds("retry", retry)
        options = getattr(self, "_options", None)
        if not isinstance(options, ConnectOptions):
            raise RuntimeError("reconnect() is for a client that connect() has made")
        self.close()
        return self._connect(replace(options, retry=retry))
