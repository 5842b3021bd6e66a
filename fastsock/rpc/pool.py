"""The threads that run a server's methods."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger("fastsock")


class Pool:
    """Up to ``threads_max`` threads, started when there is work for them."""

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """work runs on one of the threads, after that which was submitted before."""
        self._work.put(work)
        if self._idle == 0 and len(self._threads) < self._threads_max:
            self._grow()

    def _grow(self) -> None:
        with self._lock:
            if len(self._threads) >= self._threads_max:
                return
            name = f"fastsock.rpc-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work = self._work.get()
            with self._lock:
                self._idle -= 1
            if work is None:
                return
            try:
                work()
            except Exception:
                log.exception("the work of a call failed")

    def close(self, timeout: float) -> None:
        """Lets the threads end after what they do; waits for each at most timeout seconds."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout)
