"""The threads of a link: they end calls that nobody waits for, and send what takes waiting."""

import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastsock.errors import FastsockError

if TYPE_CHECKING:
    from fastsock.rpc.calls import Call
    from fastsock.rpc.link import Link


class Attendant:
    """Waits for the answers of calls that were begun, awaited or have callbacks.

    One thread reads where nobody else does; another sends, and ends calls whose time is over.
    Both begin with the first need. ``calls`` is guarded by the link's lock.
    """

    moving = False

    def __init__(self, link: "Link") -> None:
        self.event: threading.Event | None = None
        self.calls: dict[Call[Any], None] = {}
        self.link = link
        self._threads: list[threading.Thread] = []
        self._read_wake = threading.Event()
        self._write_wake = threading.Event()
        self._looks_at = inf
        """When the sending thread looks at the deadlines next. No call's is over before."""

    @property
    def ready(self) -> bool:
        """Whether there is nothing to read for."""
        return not self.calls or self.link.dead

    def add(self, call: "Call[Any]") -> None:
        """From now on the call ends even if nobody waits for it."""
        link = self.link
        with link.lock:
            if call.finished or link.dead:
                return
            self.calls[call] = None
            if call.finished:  # Who ended it may have looked here before.
                self.calls.pop(call, None)
                return
            self._start()
            if not link.leading and not self._read_wake.is_set():
                self._read_wake.set()
            if call.deadline is not None and call.deadline < self._looks_at:
                self._looks_at = call.deadline
                self._write_wake.set()

    def take_over(self) -> None:
        """Nobody else reads any more. The link's lock is held."""
        if self.calls:
            self._read_wake.set()

    def send(self) -> None:
        """Lets the sending thread send what waits."""
        with self.link.lock:
            if not self.link.dead:
                self._start()
        if not self._write_wake.is_set():
            self._write_wake.set()

    def end(self) -> None:
        """The link is dead: the threads end."""
        self._read_wake.set()
        self._write_wake.set()

    def _start(self) -> None:
        if self._threads:
            return
        for work in (self._read, self._write):
            thread = threading.Thread(target=work, name=f"fastsock.rpc{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _read(self) -> None:
        while not self.link.dead:
            self._read_wake.wait()
            self._read_wake.clear()
            while not self.ready:
                self.link.wait(self, None)

    def _write(self) -> None:
        link = self.link
        while not link.dead:
            self._write_wake.wait(self._expire())
            self._write_wake.clear()
            try:
                if link.send_turn():
                    self._write_wake.set()
            except TimeoutError:
                self._write_wake.set()
            except (FastsockError, OSError) as error:
                link.lose(error)

    def _expire(self) -> float | None:
        """Ends calls whose time is over; returns the seconds until the next one's is."""
        now = monotonic()
        if now >= self._looks_at:
            with self.link.lock:
                timed = [(call.deadline, call) for call in list(self.calls) if call.deadline]
                self._looks_at = min((until for until, _ in timed if until > now), default=inf)
            for until, call in timed:
                if until <= now:
                    call.expire()
        return None if self._looks_at == inf else max(0.0, self._looks_at - now)
