"""Looking up names within a time limit, which getaddrinfo(3) has not.

A look-up with a limit runs on a thread of its own. Its caller gives up when the limit is
over, and what it finds later is dropped. Threads that look up the same name are one, and there are
at most ``LOOK_UPS_MAX``: while a name server is silent, they last as long as resolv.conf(5) says.
Numeric hosts need none.
"""

import os
import socket
import threading
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN
from math import inf
from time import monotonic
from typing import Any

from fastsock.core._lock import Lock

__all__ = ["LOOK_UPS_MAX", "look_up", "look_up_async"]

LOOK_UPS_MAX = 16
"""Names that are looked up at a time; more wait."""

Found = list[Any]
"""What socket.getaddrinfo returns."""

Key = tuple[str, int, int]
"""Host, port and flags."""

_running: "dict[Key, _LookUp]" = {}
_lock = Lock()
"""Guards ``_running``; held for moments."""
_ended: deque[Callable[[], object]] = deque()
"""Called when a look-up has ended, each once, by those that wait for a free place."""


def look_up(host: str, port: int, *, flags: int = 0, timeout: float | None = None) -> Found:
    """Returns the stream addresses of a host: getaddrinfo(3), in at most ``timeout`` seconds.

    Without a timeout it takes as long as the resolver does. Raises TimeoutError, socket.gaierror,
    UnicodeError for what cannot be a name, OSError if no thread can be started for it.
    """
    numeric = _numeric(host, port, flags)
    if numeric is not None:
        return numeric
    if timeout is None:
        return _ask(host, port, flags)
    until = monotonic() + timeout
    while (found := _begin(host, port, flags)) is None:
        if not _wait(_ended, _has_place, until):
            raise TimeoutError(_full(host, timeout))
    if not _wait(found.told, found.is_done, until):
        raise TimeoutError(f"the look-up of {host!r} has not ended after {timeout:.3g} s")
    return found.result()


async def look_up_async(host: str, port: int) -> Found:
    """As ``look_up``, for a coroutine, whose cancelling is the time limit."""
    numeric = _numeric(host, port, 0)
    if numeric is not None:
        return numeric
    while (found := _begin(host, port, 0)) is None:
        await _wait_async(_ended, _has_place)
    await _wait_async(found.told, found.is_done)
    return found.result()


class _LookUp:
    """One look-up, on its thread. ``told`` are called when it is done."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._found: Found | None = None
        self._error: Exception | None = None
        self.told: deque[Callable[[], object]] = deque()

    def is_done(self) -> bool:
        return self._found is not None or self._error is not None

    def result(self) -> Found:
        if self._error is not None:  # A new one, since several threads may raise it.
            raise type(self._error)(*self._error.args)
        assert self._found is not None
        return self._found

    def run(self) -> None:
        try:
            self._found = _ask(*self._key)
        except Exception as error:
            self._error = error
        with _lock:
            if _running.get(self._key) is self:
                del _running[self._key]
        _tell(self.told)
        _tell(_ended)


def _ask(host: str, port: int, flags: int) -> Found:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


def _numeric(host: str, port: int, flags: int) -> Found | None:
    """The addresses of a numeric host; None for a name."""
    try:
        return _ask(host, port, flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None


def _begin(host: str, port: int, flags: int) -> _LookUp | None:
    """The look-up of that name that is under way, or a new one; None if there are too many."""
    key = (host, port, flags)
    with _lock:
        found = _running.get(key)
        if found is not None or len(_running) >= LOOK_UPS_MAX:
            return found
        found = _LookUp(key)
        thread = threading.Thread(target=found.run, name="fastsock look-up", daemon=True)
        _running[key] = found
        try:
            thread.start()
        except BaseException as error:
            del _running[key]
            if not isinstance(error, RuntimeError):
                raise
            told = f"{os.strerror(EAGAIN)}: no thread can be started to look up {host!r} in time"
            raise OSError(EAGAIN, told) from None
    return found


def _has_place() -> bool:
    return len(_running) < LOOK_UPS_MAX


def _full(host: str, timeout: float) -> str:
    return (
        f"{host!r} was not looked up within {timeout:.3g} s: {LOOK_UPS_MAX} look-ups of other names"
        " have not ended; is the name server silent?"
    )


def _wait(told: deque[Callable[[], object]], done: Callable[[], bool], until: float) -> bool:
    """Waits until it is done, or has been told to look again; False if the time is over."""
    bell = allocate_lock()
    bell.acquire()
    ring = bell.release
    told.append(ring)  # Then look: a look-up tells after it is done.
    try:
        if done():
            return True
        left = until - monotonic()
        return left > 0 and bell.acquire(timeout=-1 if left == inf else min(left, 1e6))
    finally:
        with suppress(ValueError):
            told.remove(ring)


async def _wait_async(told: deque[Callable[[], object]], done: Callable[[], bool]) -> None:
    """Waits until it is done, or has been told to look again."""
    import asyncio  # takes 25 ms; a program that awaits has it already

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def ring() -> None:
        loop.call_soon_threadsafe(event.set)

    told.append(ring)
    try:
        if not done():
            await event.wait()
    finally:
        with suppress(ValueError):
            told.remove(ring)


def _tell(told: deque[Callable[[], object]]) -> None:
    for _ in range(len(told)):
        with suppress(
            IndexError, RuntimeError
        ):  # Another thread takes them, too; a loop is closed.
            told.popleft()()


def _forget() -> None:
    """In a forked child: the threads are the parent's alone."""
    global _lock
    _lock = Lock()
    _running.clear()
    _ended.clear()


os.register_at_fork(after_in_child=_forget)
