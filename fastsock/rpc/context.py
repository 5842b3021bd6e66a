"""What surrounds a call: its deadline, its metadata, and at the server who calls."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from fastsock.core._lock import Lock
from fastsock.core.options import check_callback, check_seconds, check_timeout
from fastsock.rpc._context import ContextCore

__all__ = ["Context", "Ending", "current", "deadline", "metadata"]

_deadline: ContextVar[float | None] = ContextVar("fastsock.rpc.deadline", default=None)
_metadata: ContextVar[Mapping[str, str] | None] = ContextVar("fastsock.rpc.metadata", default=None)

ENDED: list[tuple[Callable[["Ending"], object], float]] = []
"""What ``Context._ends`` is when the call has ended."""

METADATA_BYTES_MAX = 1 << 13
"""See ``metadata_size``."""

How = Literal["done", "error", "cancelled", "deadline"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call has ended, as ``on_end`` tells it.

    ``how``: "done", "error", "cancelled" (nobody wanted it any more: a stream whose reader has
    left, too) or "deadline" (its time was over). ``error`` is what it ended with, None if it was
    done; ``items`` how many items of a stream were on their way, 0 for other methods; ``seconds``
    the time since ``on_end`` was called.
    """

    how: How
    error: BaseException | None
    items: int
    seconds: float


_lock = Lock()
"""Guards the cancelling of all contexts; held for moments."""


class Context(ContextCore):
    """The running call, as its method sees it: :func:`current` returns it.

    ``peer`` is the client's address, ``method`` the method's name, ``metadata`` what the client
    sent beside the arguments, ``deadline`` the ``time.monotonic()`` until which it wants the
    result, or None.
    """

    __slots__ = ()

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the result any more: cancelled, or the deadline is over."""
        if self._cancelled is not None and self._cancelled.is_set():
            return True
        return self.deadline is not None and monotonic() >= self.deadline

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return seconds_left(self.deadline)

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Waits until the call is cancelled or its deadline is over, at most ``timeout`` seconds;
        returns ``cancelled``. What a blocking method sleeps with."""
        limits = (check_timeout(timeout), self.remaining)
        left = [seconds for seconds in limits if seconds is not None]
        self._event().wait(min(left) if left else None)
        return self.cancelled

    def on_end(self, callback: Callable[[Ending], object]) -> None:
        """callback(ending) runs once, when the call has ended: of a stream after its last item, or
        when its reader has left. It is for interceptors, whose ``proceed`` returns when a stream
        begins; it runs on the thread that ends the call, and what it raises is logged.

        TypeError for what is no plain function, RuntimeError if the call has ended.
        """
        check_callback("a callback of on_end()", callback)
        with _lock:
            ended = self._ends is ENDED
            if not ended:
                self._ends = [*(self._ends or ()), (callback, monotonic())]
        if ended:
            raise RuntimeError(f"{self.method} has ended: call on_end() before")

    def _take_ends(self) -> list[tuple[Callable[[Ending], object], float]]:
        """Return the callbacks for the call's end, and mark it as ended."""
        with _lock:
            ends, self._ends = self._ends, ENDED
        return ends or []

    def _event(self) -> threading.Event:
        with _lock:
            if self._cancelled is None:
                self._cancelled = threading.Event()
            return self._cancelled

    def _cancel(self) -> None:
        self._event().set()
        with _lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()

    def _on_cancel(self, callback: Callable[[], object]) -> None:
        """callback runs once, when the call is cancelled, or now if it is."""
        with _lock:
            if self._cancelled is None or not self._cancelled.is_set():
                self._callbacks = [*(self._callbacks or ()), callback]
                return
        callback()


_current: ContextVar[Context] = ContextVar("fastsock.rpc.current")


def current() -> Context:
    """The call that this thread or task is running. LookupError outside of a method."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError("rpc.current() is for methods that a client has called") from None


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until ``deadline``, at least 0; None without one."""
    return None if deadline is None else max(0.0, deadline - monotonic())


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Calls inside end within ``seconds`` from now or raise DeadlineExceeded. A deadline around
    this one holds too; calls that the called methods make inherit it."""
    check_seconds("a deadline", seconds)
    outer, ours = _deadline.get(), monotonic() + seconds
    token = _deadline.set(ours if outer is None else min(outer, ours))
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def metadata(**entries: str) -> Iterator[None]:
    """Calls inside carry these entries, in addition to those around them and those of
    ``connect(metadata=)``; the method finds them in ``rpc.current().metadata``."""
    token = _metadata.set(check_metadata({**(_metadata.get() or {}), **entries}))
    try:
        yield
    finally:
        _metadata.reset(token)


def metadata_size(entries: Mapping[str, str]) -> int:
    """What counts of them: the bytes of all texts, and 32 for each entry (as in RFC 9113)."""
    texts = sum(len(key.encode()) + len(value.encode()) for key, value in entries.items())
    return texts + 32 * len(entries)


def check_metadata(entries: Mapping[str, str]) -> dict[str, str]:
    """A copy; TypeError or ValueError where it is not a small map of str to str."""
    for key, value in entries.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata is a map of str to str, not {key!r}: {value!r}")
    size = metadata_size(entries)
    if size > METADATA_BYTES_MAX:
        raise ValueError(f"metadata of {size} bytes; at most {METADATA_BYTES_MAX} are sent")
    return dict(entries)
