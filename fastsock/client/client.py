"""The other end of a server: one connection that sends and receives messages."""

import errno
import os
import random
import socket
import time
from math import inf
from typing import Any, Self

from fastsock.client.endpoint import Endpoint
from fastsock.core import address as addresses
from fastsock.core.handed import Handed, check_connected, take
from fastsock.core.options import Framing, check_seconds, check_stream, check_timeout

__all__ = ["Client"]

RETRY_FIRST = 0.05
RETRY_MOST = 2.0
"""Seconds between attempts to connect."""
BACKLOG_PAUSE_FIRST = 0.001
BACKLOG_PAUSE_MOST = 0.05
"""Seconds between looks whether a UNIX server has a place."""


class Client(Endpoint):
    """One connection to a server, framed as the server's. Made by :meth:`Client.connect`, or
    :meth:`Client.from_socket`."""

    _address: addresses.Address
    _options: dict[str, Any]

    @classmethod
    def connect(
        cls,
        address: addresses.Address,
        *,
        framing: Framing = "line",
        final_line: bool = False,
        timeout: float | None = None,
        retry: float = 0.0,
        message_bytes_max: int = 1 << 16,
        outbox_bytes_max: int = 1 << 20,
        linger: float = 1.0,
        busy_poll_us: int | None = 0,
    ) -> Self:
        """Connects to ``address``: ``(host, port)``, the path of a UNIX socket, or ``"@name"`` for
        one in the abstract namespace.

        A host of several addresses is tried in the order of RFC 6724. ``timeout`` is in seconds,
        for the look-up of a name and all its addresses together: what is left is shared out evenly
        among the addresses that are left. None: as long as the resolver and the kernel take;
        ``linger`` bounds close(). With ``retry`` it tries again for so many seconds, with pauses
        that double from 0.05 to 2 s and vary at random, so that many clients do not come back at
        once; without a timeout of its own an attempt takes at most ``retry``, too.
        ``busy_poll_us``: microseconds that receiving looks again and again before it sleeps:
        latency for CPU time. None: up to 50, as long as messages do come that soon. ``final_line``
        is for ``framing="line"``: what the peer has said last, without a newline, before it closes
        is a message, too; else it is an error.

        Raises ValueError or TypeError for an argument that cannot be, OSError where nobody
        listens, TimeoutError.
        """
        options = {
            "framing": framing,
            "final_line": final_line,
            "message_bytes_max": message_bytes_max,
            "outbox_bytes_max": outbox_bytes_max,
            "linger": linger,
            "busy_poll_us": busy_poll_us,
        }
        check_stream(options)
        check_seconds("retry", retry)
        timeout = check_timeout(timeout)
        deadline, pause = time.monotonic() + retry, RETRY_FIRST
        limit = retry if timeout is None and retry else timeout
        while True:
            try:
                client = cls._connect_any(address, options, limit)
                break
            except OSError:
                varied = pause * random.uniform(0.5, 1.0)
                if time.monotonic() + varied > deadline:
                    raise
                time.sleep(varied)
                pause = min(2 * pause, RETRY_MOST)
        client._linger = linger
        client._address = address
        client._options = options | {"timeout": timeout}
        return client

    @classmethod
    def _connect_any(
        cls, address: addresses.Address, options: dict[str, Any], timeout: float | None
    ) -> Self:
        """Connects to the first of the host's addresses that answers."""
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
        options: dict[str, Any],
        timeout: float | None,
    ) -> Self:
        """Connects to one address. A UNIX server whose backlog is full has no place now, and
        nothing tells when it has one (connect(2)): that is tried again and again."""
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
    def from_socket(
        cls,
        socket: Handed,
        *,
        framing: Framing = "line",
        final_line: bool = False,
        message_bytes_max: int = 1 << 16,
        outbox_bytes_max: int = 1 << 20,
        linger: float = 1.0,
        busy_poll_us: int | None = 0,
    ) -> Self:
        """Takes over a connected stream socket, or its descriptor: one end of a ``socketpair``,
        what an ``accept`` has returned, stdin of a service of inetd.

        ``close()`` closes it; a socket object is closed at once. The options are those of
        :meth:`connect`. Raises TypeError or ValueError for what is no connected stream socket,
        OSError for a descriptor that is not open; then it is still the caller's.
        """
        options = {
            "framing": framing,
            "final_line": final_line,
            "message_bytes_max": message_bytes_max,
            "outbox_bytes_max": outbox_bytes_max,
            "linger": linger,
            "busy_poll_us": busy_poll_us,
        }
        check_stream(options)
        fd, peer = check_connected(socket)
        os.set_inheritable(fd, False)
        client = cls._adopted(fd, peer, options)
        take(socket)
        return client

    def reconnect(self, *, retry: float = 0.0) -> Self:
        """Closes this client and returns a new one, connected to the same address with the same
        options; ``retry`` and errors are those of :meth:`connect`. What was not sent is lost.
        RuntimeError if the socket was handed in: nobody knows how to connect another one.

        In a forked child that has a client of its parent it makes a connection of the child's own.
        """
        check_seconds("retry", retry)
        if not hasattr(self, "_address"):
            raise RuntimeError("reconnect() is for a client that connect() has made")
        self.close()
        return self.connect(self._address, retry=retry, **self._options)
