"""What may take long and must not hold up the thread that asks for it."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from fastsock.core._lock import Lock

__all__ = ["Errands"]

log = logging.getLogger("fastsock.rpc")


class Errands:
    """Does one work after the other, on a thread that ends when there is none left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False

    def do(self, work: Callable[[], object]) -> None:
        """work() runs soon. RuntimeError, with nothing done, if no thread can be started."""
        with self._lock:
            if not self._running:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._running = True
            self._waiting.append(work)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                work = self._waiting.popleft()
            try:
                work()
            except BaseException:  # SystemExit, too, is no reason to lose what waits.
                log.exception("a thread of a stub failed")
            del work
