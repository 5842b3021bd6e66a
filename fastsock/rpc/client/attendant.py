"""The threads of a link: they end calls that nobody waits for, and send what takes waiting."""

import logging
import threading
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastsock.errors import ConnectionClosed, FastsockError
from fastsock.rpc.client.flag import Flag

if TYPE_CHECKING:
    from fastsock.rpc.client.calls import Call
    from fastsock.rpc.client.link import Link

log = logging.getLogger("fastsock.rpc")


class Attendant:
    """Waits for the answers of calls that were begun, awaited or have callbacks.

    One thread reads if nobody else does; another sends, and ends calls whose time is over, also
    while they wait for another link. Both begin with the first need, and end when the calls of a
    dead link have gone elsewhere. ``calls`` is guarded by the link's lock.
    """

    moving = False

    def __init__(self, link: "Link") -> None:
        self.event: Flag | None = None
        self.calls: dict[Call[Any], None] = {}
        self.link = link
        self._unstarted = [Attendant._read, Attendant._write]
        self._ended = False
        self._read_wake = Flag()
        self._write_wake = Flag()
        self._looks_at = inf
        """When the sending thread looks at the time limits next. No call's is over before."""

    @property
    def ready(self) -> bool:
        """Whether there is nothing to read for."""
        return not self.calls or self.link.dead

    def add(self, call: "Call[Any]") -> None:
        """From now on the call ends even if nobody waits for it. RuntimeError if no thread can be
        started for that."""
        link = self.link
        with link.lock:
            if call.finished or self._ended:
                return
            self._start()
            self.calls[call] = None
            if call.finished:  # Who ended it may have looked here before.
                self.calls.pop(call, None)
                return
            if not link.leader:
                self._read_wake.set()
            until = call.ends_at()
            if until < self._looks_at:
                self._looks_at = until
                self._write_wake.set()

    def start(self) -> None:
        """Sees to it that its threads run. RuntimeError if they cannot be started."""
        if self._unstarted:
            with self.link.lock:
                self._start()

    def look(self) -> None:
        """The link is dead, and what follows may be for one of its threads to do."""
        self._read_wake.set()
        self._write_wake.set()

    def take_over(self) -> None:
        """Nobody else reads any more. The link's lock is held."""
        if self.calls:
            self._read_wake.set()

    def send(self) -> None:
        """Lets the sending thread send what waits. If no thread can be started, whoever sends or
        waits next does it."""
        with self.link.lock, suppress(RuntimeError):
            self._start()
        self._write_wake.set()

    def end(self) -> None:
        """The link is dead, and its calls are elsewhere: the threads end."""
        with self.link.lock:
            self._ended = True
            self.calls.clear()
        self._read_wake.set()
        self._write_wake.set()

    def _start(self) -> None:
        """Starts the threads, if they have not been. The link's lock is held."""
        while self._unstarted and not self._ended:
            work = self._unstarted[-1]
            name = f"fastsock.rpc{work.__name__}"
            threading.Thread(target=work, args=(self,), name=name, daemon=True).start()
            self._unstarted.pop()

    def _read(self) -> None:
        while not self.link.dead:
            self._read_wake.wait()
            self._read_wake.clear()
            try:
                while not self.ready:
                    self.link.wait(self, None)
            except BaseException as error:
                self._failed(error)

    def _write(self) -> None:
        link = self.link
        while not self._ended:
            self._write_wake.wait(self._expire())
            self._write_wake.clear()
            if link.dead:
                link.recover_alone()
                continue
            try:
                if link.send_turn(self._looks_at):
                    self._write_wake.set()
            except TimeoutError:
                self._write_wake.set()
            except (FastsockError, OSError) as error:
                link.lose(error)
            except BaseException as error:
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Something that should not be: the link ends, and its calls go on elsewhere or end."""
        log.error("a thread of a stub failed; it connects again", exc_info=error)
        self.link.lose(ConnectionClosed(f"a thread of the stub failed: {error!r}", "local"))

    def _expire(self) -> float | None:
        """Ends calls whose time is over; returns the seconds until the next one's is."""
        now = monotonic()
        if now >= self._looks_at:
            with self.link.lock:
                timed = [(call.ends_at(), call) for call in list(self.calls)]
                self._looks_at = min((until for until, _ in timed if until > now), default=inf)
            for until, call in timed:
                if until <= now:
                    call.expire()
        return None if self._looks_at == inf else max(0.0, self._looks_at - now)
