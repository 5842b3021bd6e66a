"""Listening: at addresses, of which stale socket files give way, and on sockets handed in. Errors
name the address."""

import errno
import fcntl
import ipaddress
import os
import socket as std
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastsock.core import address as addresses
from fastsock.core._convert import LISTENERS_MAX
from fastsock.core.handed import Handed, check_listening, take
from fastsock.core.options import check_count

__all__ = ["ListenOptions", "Listening", "SocketFile"]

Plain = tuple[str, int] | str

PORT_TRIES = 16
"""How many free ports are tried for a host of several addresses, if one of these lacks it."""
MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine says that has no address of a family, such as one without IPv6."""

LOCK_SECONDS = 2.0
"""How long servers that start in one directory wait for each other; then one goes on without."""
LOCK_PAUSE = 0.005


@dataclass(frozen=True, kw_only=True)
class ListenOptions:
    """Where a server listens. Listening checks it."""

    address: addresses.Address | list[addresses.Address] | None = field(default=None, kw_only=False)
    """An address, or a list of them. A host name stands for all its addresses, except those of a
    family that this machine lacks; they share one port if that is 0."""
    socket: Handed | list[Handed] | None = None
    """A listening stream socket, or a list of them. They become the server's, and ``close()``
    closes them; the object is closed at once. They no longer block, also in other processes that
    share them. Files of UNIX sockets stay the caller's."""
    fd: int | list[int] | None = None
    """The same as descriptors. See :func:`fastsock.listen_fds`."""
    dual_stack: bool = False
    """The host "::" accepts clients over IPv4, too; their addresses are IPv4 addresses."""
    backlog: int = 128
    """Callers that the kernel queues before they are accepted (listen(2))."""


class Listening:
    """The sockets at which one server listens: bound here, or handed in.

    Raises TypeError or ValueError for options that cannot be, OSError that names the address; then
    nothing is open, and what was handed in is still the caller's.
    """

    def __init__(self, options: ListenOptions) -> None:
        check_count("backlog", options.backlog, (1 << 31) - 1)
        plain = [addresses.check(each) for each in _several("address", options.address)]
        handed_in = [*_several("socket", options.socket), *_several("fd", options.fd)]
        self._given: list[Handed] = handed_in
        _check_dual_stack(options.dual_stack, plain)
        handed = _check_given(self._given)
        if not plain and not handed:
            raise TypeError("there is nowhere to listen: give an address, socket= or fd=")
        self._bound: list[_Bound] = []
        with ExitStack() as undo:
            for each in plain:
                self._bound += _bind_at(each, options.dual_stack, options.backlog, undo)
            self.own_count = len(self._bound)
            self.fds = [each.socket.fileno() for each in self._bound] + [fd for fd, _ in handed]
            if len(self.fds) > LISTENERS_MAX:
                told = f"{LISTENERS_MAX} sockets, not on {len(self.fds)}"
                raise ValueError(f"a server listens on at most {told}")
            undo.pop_all()
        bound = [addresses.plain_of(each.socket.getsockname()) for each in self._bound]
        self.addresses: tuple[Plain, ...] = (*bound, *(at for _, at in handed))

    def hand_over(self, open_: Callable[[list[int]], object]) -> None:
        """Calls ``open_(fds)``, to which the descriptors then belong, the first ``own_count`` of
        them bound here. If it raises, they are closed, and those that were handed in are still the
        caller's."""
        try:
            for fd in self.fds:
                os.set_inheritable(fd, False)
                os.set_blocking(fd, False)
            open_(self.fds)
        except BaseException as error:
            for each in self._bound:
                each.close()
            if not isinstance(error, OSError):
                raise
            why = (error.strerror or "").removeprefix("listen: ")
            shown = ", ".join(map(addresses.show, self.addresses))
            raise OSError(error.errno, f"cannot listen on {shown}: {why}") from None
        for sock in (*(each.socket for each in self._bound), *self._given):
            take(sock)

    def remove_files(self, *, wait: bool = True) -> None:
        """Removes the files of UNIX sockets that were bound here. Idempotent.

        Call it before the sockets are closed: until then no other file has their inodes. ``wait``
        is that of SocketFile.
        """
        for each in self._bound:
            each.remove_file(wait=wait)


def _several(name: str, given: object) -> list[Any]:
    if not isinstance(given, list):
        return [] if given is None else [given]
    if not given:
        raise ValueError(f"{name} must hold at least one, or be None")
    return given


def _check_dual_stack(dual_stack: object, plain: Sequence[Plain]) -> None:
    if not isinstance(dual_stack, bool):
        raise TypeError(f"dual_stack must be a bool, not {dual_stack!r}")
    if dual_stack and not any(map(_is_any_ipv6, plain)):
        raise ValueError("dual_stack=True is for the host '::', which is not among the addresses")


def _is_any_ipv6(plain: Plain) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(plain[0]) == ipaddress.IPv6Address("::")
    return False


def _check_given(given: Sequence[Handed]) -> list[tuple[int, Plain]]:
    handed = [check_listening(each) for each in given]
    fds = [fd for fd, _ in handed]
    if len(set(fds)) < len(fds):
        raise ValueError("a socket was handed in twice")
    return handed


# ---- Binding ----


class _Bound:
    """A listening socket that was bound here, and its file if it is a UNIX socket's."""

    def __init__(
        self, family: int, sockaddr: addresses.Sockaddr, *, dual_stack: bool, backlog: int
    ) -> None:
        self._backlog = backlog
        self._file: SocketFile | None = None
        self.socket = std.socket(family, std.SOCK_STREAM)
        try:
            if family != std.AF_UNIX:
                self.socket.setsockopt(std.SOL_SOCKET, std.SO_REUSEADDR, 1)
            if family == std.AF_INET6:
                self.socket.setsockopt(std.IPPROTO_IPV6, std.IPV6_V6ONLY, not dual_stack)
            if isinstance(sockaddr, str) and not sockaddr.startswith("\0"):
                self._file = SocketFile(sockaddr, self._listen)
            else:
                self._listen(sockaddr)
        except BaseException:
            self.socket.close()
            raise

    def _listen(self, sockaddr: addresses.Sockaddr) -> None:
        self.socket.bind(sockaddr)
        self.socket.listen(self._backlog)

    def remove_file(self, *, wait: bool = True) -> None:
        if self._file is not None:
            self._file.remove(wait=wait)

    def close(self) -> None:
        self.remove_file()
        self.socket.close()


def _bind_at(plain: Plain, dual_stack: bool, backlog: int, undo: ExitStack) -> list[_Bound]:
    """Listens at all that an address stands for; ``undo`` closes it. If any port will do and one
    that was free for the first is not for another one, tries another port."""
    found = list(dict.fromkeys(addresses.resolve(plain, passive=True)))
    both = dual_stack and _is_any_ipv6(plain)
    tries = PORT_TRIES if plain[1] == 0 else 1
    for left in reversed(range(tries)):
        with ExitStack() as closing:
            try:
                bound = _bind_all(plain, found, both, backlog, closing)
            except OSError as error:
                if left and error.errno == errno.EADDRINUSE:
                    continue
                raise
            undo.push(closing.pop_all())
            return bound
    raise AssertionError("the last try returns or raises")


def _bind_all(
    plain: Plain,
    found: Sequence[tuple[int, addresses.Sockaddr]],
    dual_stack: bool,
    backlog: int,
    closing: ExitStack,
) -> list[_Bound]:
    bound: list[_Bound] = []
    missing = None
    for family, sockaddr in found:
        if bound and isinstance(sockaddr, tuple):
            sockaddr = (sockaddr[0], bound[0].socket.getsockname()[1], *sockaddr[2:])
        try:
            each = _Bound(family, sockaddr, dual_stack=dual_stack, backlog=backlog)
        except OSError as error:
            told = f"cannot listen on {_named(plain, sockaddr)}: {os.strerror(error.errno or 0)}"
            missing = OSError(error.errno, told)
            if len(found) > 1 and error.errno in MISSING:
                continue
            raise missing from None
        closing.callback(each.close)
        bound.append(each)
    if missing and not bound:
        raise missing
    return bound


def _named(plain: Plain, sockaddr: addresses.Sockaddr) -> str:
    """The address, and which of a host's it is if that says more."""
    shown, exact = addresses.show(plain), addresses.show(addresses.plain_of(sockaddr))
    return shown if shown == exact or isinstance(plain, str) else f"{shown} ({exact})"


# ---- The files of UNIX sockets ----


class SocketFile:
    """The file of a UNIX socket that was bound here: its absolute path, its device and inode.

    ``bind(path)`` has to bind and listen there. The file of a server that is gone gives way: of
    several that start at once, one gets the path, and the others find it in use. Raises OSError.
    """

    def __init__(self, path: str, bind: Callable[[str], object]) -> None:
        self._path = os.path.abspath(path)
        # An absolute path is one after a chdir, too, but may be too long for the kernel.
        fits = len(os.fsencode(self._path)) <= addresses.UNIX_PATH_BYTES_MAX
        with _locked(os.path.dirname(self._path)):
            _remove_stale(self._path)
            bind(self._path if fits else path)
            self._identity: tuple[int, int] | None = _identity(self._path)

    def remove(self, *, wait: bool = True) -> None:
        """Removes the file that was bound here, and none that has come in its place. Idempotent.

        Call it before the socket is closed: until then no other file has its inode. With
        ``wait=False`` it does not wait for others that are at the directory's sockets.
        """
        if self._identity is None:
            return
        seconds = LOCK_SECONDS if wait else 0.0
        with _locked(os.path.dirname(self._path), seconds), suppress(OSError):
            if _identity(self._path) == self._identity:
                Path(self._path).unlink()
        self._identity = None


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@contextmanager
def _locked(directory: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keeps others of ours from looking at the directory's sockets and acting on it. Goes on
    without the lock where the directory cannot be read, or its file system has none."""
    try:
        fd = os.open(directory or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        _lock(fd, seconds)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE)
        except OSError:
            return
        else:
            return


def _remove_stale(path: str) -> None:
    """Removes the socket file of a server that is gone.

    A datagram socket asks, whose wish to connect no server sees: a socket of another kind that
    lives says EPROTOTYPE, where there is none it is refused.
    """
    with suppress(OSError), std.socket(std.AF_UNIX, std.SOCK_DGRAM) as probe:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
