"""A flag to wait for, which any thread may set at any moment."""

from _thread import LockType, allocate_lock
from collections import deque
from contextlib import suppress

__all__ = ["Flag"]


class Flag:
    """As :class:`threading.Event`, but no method waits for a lock: a signal handler or ``__del__``
    may set it even if its own thread was stopped in the middle of a method of the same flag."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: deque[LockType] = deque()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and let all threads go on that wait for it."""
        self._set = True
        while self._waiting:
            # Another thread may be here, too: each takes what it finds.
            with suppress(IndexError, RuntimeError):
                self._waiting.popleft().release()

    def clear(self) -> None:
        """Take it back."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return whether it is."""
        if self._set:
            return True
        lock = allocate_lock()
        lock.acquire()
        self._waiting.append(lock)  # Then look: a setter stores first, then takes this.
        try:
            if not self._set:
                lock.acquire(timeout=-1 if timeout is None else timeout)
        finally:
            with suppress(ValueError):
                self._waiting.remove(lock)
        return self._set
