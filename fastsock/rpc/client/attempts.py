"""Several addresses tried at once, each a little after the one before it, as RFC 8305 does: one
that says nothing costs its delay and not its time-out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from math import inf
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from time import monotonic
from typing import Generic, TypeVar

from fastsock.core._lock import Lock
from fastsock.core.address import Address

__all__ = ["Attempts"]

DELAY_SECONDS = 0.25
"""How long an attempt goes on alone: the Connection Attempt Delay of RFC 8305, section 5."""

AT_ONCE_MAX = 8

T = TypeVar("T")


class Attempts(Generic[T]):
    """Connects to the first address that answers.

    ``connect(address)`` returns what is wanted, or raises one of ``errors``; ``discard(result)``
    ends one that came second; ``failed(address)`` is told of those that did not answer before
    another one did, though they had begun earlier.
    """

    def __init__(
        self,
        connect: Callable[[Address], T],
        discard: Callable[[T], object],
        failed: Callable[[Address], object],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._connect = connect
        self._discard = discard
        self._failed = failed
        self._errors = errors
        self._lock = Lock()
        self._over = False
        self._told: SimpleQueue[tuple[Address, T | BaseException]] = SimpleQueue()

    def first(self, addresses: Sequence[Address], until: float = inf) -> T | Exception | None:
        """What the first address gave, in the order of the addresses if none is silent; else the
        last error, or None if there were no addresses. TimeoutError is it if that is not known at
        ``until``, a ``monotonic()``, of which ``connect`` knows, too."""
        if len(addresses) == 1:
            return self._alone(addresses[0])
        try:
            return self._race(iter(addresses), until)
        finally:
            self._end()

    def _alone(self, address: Address) -> T | Exception:
        try:
            return self._connect(address)
        except self._errors as error:
            self._failed(address)
            return error

    def _race(self, waiting: Iterator[Address], until: float) -> T | Exception | None:
        running: list[Address] = []
        failure: Exception | None = None
        more = True
        while True:
            if more and len(running) < AT_ONCE_MAX:
                address = next(waiting, None)
                more = address is not None
                if address is not None:
                    running.append(address)
                    self._begin(address)
            if not running:
                return failure
            left = min(until - monotonic(), DELAY_SECONDS if more else TIMEOUT_MAX)
            try:
                address, outcome = self._told.get(timeout=max(0.0, left))
            except Empty:
                if monotonic() < until:
                    continue
                self._pass_over(running)
                return failure or TimeoutError("no server has answered in time")
            running.remove(address)
            if not isinstance(outcome, BaseException):
                self._pass_over(running)
                return outcome
            if not isinstance(outcome, self._errors):
                raise outcome
            self._failed(address)
            failure = outcome
            more = more and monotonic() < until

    def _pass_over(self, silent: Sequence[Address]) -> None:
        for address in silent:
            self._failed(address)

    def _begin(self, address: Address) -> None:
        thread = threading.Thread(
            target=self._run, args=(address,), name="fastsock.rpc connect", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # No thread can be started now: this one does it.
            self._run(address)

    def _run(self, address: Address) -> None:
        outcome: T | BaseException
        try:
            outcome = self._connect(address)
        except BaseException as error:
            outcome = error
        with self._lock:
            if not self._over:
                self._told.put((address, outcome))
                return
        if not isinstance(outcome, BaseException):
            self._discard(outcome)

    def _end(self) -> None:
        """What comes from now on is nobody's."""
        with self._lock:
            self._over = True
        while not self._told.empty():
            _, outcome = self._told.get()
            if not isinstance(outcome, BaseException):
                self._discard(outcome)
