"""The threads that run a server's methods."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic

log = logging.getLogger("fastsock")


class Pool:
    """Up to ``threads_max`` threads, started when there is work for them."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._waiting = 0
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """work runs on one of the threads, after that which was submitted before."""
        with self._lock:
            self._waiting += 1
            if self._waiting > self._idle and len(self._threads) < self._threads_max:
                self._grow()
        self._work.put(work)

    def _grow(self) -> None:
        name = f"fastsock.rpc-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _next(self) -> Callable[[], object] | None:
        """The next work. Once the pool is closed, what is left, then None."""
        work = None
        while work is None:
            try:
                work = self._work.get(block=not self._closed)
            except Empty:
                self._work.put(None)  # For the next thread that waits.
                return None
        return work

    def _run(self) -> None:
        while (work := self._next()) is not None:
            with self._lock:
                self._waiting -= 1
                self._idle -= 1
            try:
                work()
            except Exception:
                log.exception("the work of a call failed")
            with self._lock:
                self._idle += 1

    def close(self, timeout: float) -> None:
        """Lets the threads end after what was submitted; waits for them at most timeout seconds."""
        self._closed = True
        self._work.put(None)
        until = monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - monotonic()))
