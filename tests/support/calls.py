"""Calls that wait in the kernel, for tests that do something meanwhile."""

import signal
import threading
from collections.abc import Callable

from conftest import wait_until


class Call(threading.Thread):
    """A call in a thread of its own, to be met while it waits in the kernel."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call = call
        self.result: object = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.call()
        except Exception as error:
            self.result = error

    def wait_asleep(self) -> None:
        wait_until(lambda: self.ident is not None and asleep(self.native_id), "the call waits")

    def wait_result(self) -> object:
        wait_until(lambda: not self.is_alive(), "the call returns")
        self.join()
        return self.result


def asleep(thread: int | None) -> bool:
    """Whether a thread sleeps in the kernel, for longer than a hand-over of the GIL takes."""
    pause = threading.Event()
    for _ in range(4):
        with open(f"/proc/self/task/{thread}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] != "S":
                return False
        pause.wait(0.003)
    return True


def signal_until(event: threading.Event, number: int) -> Call:
    """Sends a signal to the main thread, whenever it sleeps in the kernel, until event is set."""
    main = threading.main_thread()

    def send() -> None:
        while not event.is_set():
            if asleep(main.native_id):
                signal.pthread_kill(main.ident, number)

    return Call(send)
