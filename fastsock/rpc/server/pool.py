"""The threads that run a server's methods. Its clients take turns."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from queue import Empty, SimpleQueue
from time import monotonic

log = logging.getLogger("fastsock.rpc")


class Line:
    """The work of one client that waits for a thread, the oldest first."""

    __slots__ = ("listed", "works")

    def __init__(self) -> None:
        self.works: OrderedDict[Hashable, Callable[[], object]] = OrderedDict()
        self.listed = False


class Pool:
    """Up to ``threads_max`` threads, started when there is work for them.

    A line stands in the ring once, while it has work. A thread takes the first line's oldest work
    and puts the line behind the others, so that nobody waits for all that another one has asked.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._ring: SimpleQueue[Line | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._waiting = 0
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, line: Line, key: Hashable, work: Callable[[], object]) -> None:
        """work runs on one of the threads, after what the line had before. RuntimeError, with
        nothing done: there is no thread, and none can be started."""
        with self._lock:
            if self._waiting >= self._idle and len(self._threads) < self._threads_max:
                self._grow()
            self._waiting += 1
            line.works[key] = work
            listed, line.listed = line.listed, True
        if not listed:
            self._ring.put(line)

    def remove(self, line: Line, key: Hashable) -> bool:
        """Takes back what was submitted under that key; False if it has begun."""
        with self._lock:
            if line.works.pop(key, None) is None:
                return False
            self._waiting -= 1
            return True

    def _grow(self) -> None:
        name = f"fastsock.rpc-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # Those that are there do it.
        self._threads.append(thread)
        self._idle += 1

    def _next(self) -> Callable[[], object] | None:
        """The next work. Once the pool is closed, what is left, then None."""
        while True:
            try:
                line = self._ring.get(block=not self._closed)
            except Empty:
                self._ring.put(None)  # For the next thread that waits.
                return None
            if line is None:
                continue
            with self._lock:
                work = line.works.popitem(last=False)[1] if line.works else None
                line.listed = bool(line.works)
                if work is not None:
                    self._waiting -= 1
                    self._idle -= 1
            if line.listed:
                self._ring.put(line)
            if work is not None:
                return work

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except BaseException:  # SystemExit, too, is no reason to lose a thread.
                log.exception("the work of a call failed")
            with self._lock:
                self._idle += 1

    def close(self, timeout: float) -> None:
        """Lets the threads end after what was submitted; waits for them at most timeout seconds."""
        self._closed = True
        self._ring.put(None)
        until = monotonic() + timeout
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - monotonic()))
