"""What a server does by time alone, on a thread that sleeps until something is due."""

import logging
import threading
from collections.abc import Callable

from fastsock.core.flag import Flag

log = logging.getLogger("fastsock.rpc")


class Keeper:
    """Calls ``work()`` when it is due: it returns in how many seconds that is next, or None: when
    ``look`` is called."""

    def __init__(self, work: Callable[[], float | None]) -> None:
        self._work = work
        self._asked = Flag()
        self._closed = False
        self._last: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread; RuntimeError if there can be none."""
        thread = threading.Thread(target=self._run, name="fastsock.rpc keeper", daemon=True)
        thread.start()
        self._thread = thread

    def look(self) -> None:
        """There may be something to do, now or later. Any thread may call it."""
        self._asked.set()

    def _run(self) -> None:
        while not self._closed:
            self._asked.clear()
            try:
                due = self._work()
            except BaseException:  # SystemExit, too, must not end what nobody sees ending.
                log.exception("what a server does by time failed")
                due = 1.0
            if not self._closed:
                self._asked.wait(due)
        if self._last is not None:
            self._last()

    def finish(self, last: Callable[[], object]) -> None:
        """Ends the thread with this work, and does not wait for it."""
        self._last = last
        self._closed = True
        self._asked.set()

    def close(self) -> None:
        """Ends the thread, and waits for it."""
        self._closed = True
        self._asked.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
