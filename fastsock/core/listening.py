"""Listening at an address: stale socket files give way, and errors name the address."""

import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastsock.core import address as addresses

__all__ = ["SocketFile", "listen"]

LOCK_SECONDS = 2.0
"""How long servers that start in one directory wait for each other; then one goes on without."""
LOCK_PAUSE = 0.005


def listen(
    address: addresses.Address, bind: Callable[[int, addresses.Sockaddr], object]
) -> "SocketFile | None":
    """Calls ``bind(family, sockaddr)``, which has to bind and listen at the address.

    Returns the socket file that is there then, which whoever closes the socket removes; None for
    TCP. Raises OSError that names the address.
    """
    family, sockaddr = addresses.resolve(address, passive=True)[0]
    try:
        if isinstance(sockaddr, str):
            return SocketFile(sockaddr, lambda path: bind(family, path))
        bind(family, sockaddr)
    except OSError as error:
        shown = addresses.show(addresses.check(address))
        why = (error.strerror or "").removeprefix("listen: ")
        told = f"cannot listen on {shown}: {why}"
        raise OSError(error.errno, told) from None
    return None


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
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
