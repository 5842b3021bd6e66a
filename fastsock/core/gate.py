"""Waiting for a descriptor until another thread says that the wait is over."""

import os
import select

from fastsock.core.closing import Closing
from fastsock.core.forking import disown_in_children
from fastsock.core.options import check_count

__all__ = ["Gate"]


class Gate(Closing):
    """Waits for a descriptor to be ready, until another thread shuts it. It is closed with the last
    reference at the latest, and in forked children at once."""

    _open = _shut = -1

    def __init__(self) -> None:
        self._refuse_second_init("_shut")
        self._open, self._shut = os.pipe()
        disown_in_children(self)

    def wait(self, fd: int, events: int = select.POLLIN) -> bool:
        """True: fd has one of the events of poll(2), or is at its end; False: the gate is shut."""
        check_count("fd", fd, (1 << 31) - 1, least=0)
        check_count("events", events, (1 << 15) - 1)
        poll = select.poll()
        poll.register(fd, events)
        poll.register(self._open, select.POLLIN)
        return all(ready != self._open for ready, _ in poll.poll())

    def shut(self) -> None:
        """Ends every wait, now and later. Any thread may call it."""
        os.write(self._shut, b"!")

    def close(self) -> None:
        """Call it when nobody waits. Idempotent."""
        if self._shut >= 0:
            os.close(self._open)
            os.close(self._shut)
        self._open = self._shut = -1

    _drop = _disown = __del__ = close

    def _held(self) -> str:
        return ""
