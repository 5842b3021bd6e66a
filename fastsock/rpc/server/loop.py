"""An event loop on a thread of its own, for methods that are coroutines."""

import logging
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("fastsock.rpc")


class LoopThread:
    """Started by the first coroutine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the loop's."""
        return self._thread is threading.current_thread()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """work() runs as a task. Any thread may call it. RuntimeError if no thread can be
        started."""
        with self._lock:
            loop = self._loop or self._begin()
        loop.call_soon_threadsafe(self._spawn, work)

    def _begin(self) -> "asyncio.AbstractEventLoop":
        import asyncio  # takes 25 ms, which a server without coroutines saves

        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=self._run, args=(loop,), name="fastsock.rpc loop", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._loop, self._thread = loop, thread
        return loop

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        import asyncio

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self, loop: "asyncio.AbstractEventLoop") -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            self._run_on(loop)
        finally:
            for task in self._tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _run_on(self, loop: "asyncio.AbstractEventLoop") -> None:
        while not self._closing:
            try:
                loop.run_forever()
            except BaseException:  # SystemExit in a task that a method has left running.
                log.exception("a task of the event loop failed")

    def close(self, timeout: float) -> None:
        """Cancels what runs, and ends the thread; waits at most timeout seconds."""
        if self._loop is None or self._thread is None:
            return
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout)
