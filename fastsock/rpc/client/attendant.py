"""The threads of a link: they end calls that nobody waits for, and send what takes waiting."""

import logging
import threading
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Protocol
from weakref import ref

from fastsock.client import Client
from fastsock.core._lock import Lock
from fastsock.core.flag import Flag
from fastsock.errors import ConnectionClosed, FastsockError
from fastsock.rpc.client._calling import receive_from
from fastsock.rpc.client.calls import Call
from fastsock.rpc.client.sender import Sender
from fastsock.rpc.client.settings import Settings

log = logging.getLogger("fastsock.rpc")


class Line(Protocol):
    """What an attendant needs of its link."""

    leader: int
    settings: Settings

    @property
    def client(self) -> Client: ...
    @property
    def sender(self) -> Sender: ...
    @property
    def lock(self) -> Lock: ...
    @property
    def dead(self) -> bool: ...
    @property
    def attended(self) -> dict[Any, None]: ...

    def heard(self, frames: list[bytes]) -> None:
        """These frames have come, or none for ``keepalive`` seconds."""

    def end_wait(self, waiter: Any, led: bool) -> None:
        """End a wait, and wake what reads next."""

    def lose(self, error: Exception) -> None:
        """The connection has ended."""

    def recover_alone(self) -> None:
        """End the calls of a link for which no thread could be started."""


class Attendant:
    """Waits for the answers of calls that were begun, awaited or have callbacks.

    One thread reads if nobody else does; another sends, and ends calls whose time is over, also
    while they wait for another link. Both begin with the first need, and end when the calls of a
    dead link have gone elsewhere. While they wait they hold nothing of the stub but its client, so
    that one that the program has dropped is not kept by them. The link's lock guards
    ``link.attended``.
    """

    def __init__(self, link: Line) -> None:
        self.link = link
        self._read_wake = Flag()
        self._write_wake = Flag()
        self._unstarted = [(_read, self._read_wake), (_write, self._write_wake)]
        self.ended = False
        self._looks_at = inf
        """When the sending thread looks at the time limits next. No call's is over before."""

    def add(self, call: Call[Any]) -> None:
        """From now on the call ends even if nobody waits for it. RuntimeError if no thread can be
        started for that."""
        link = self.link
        with link.lock:
            if call.finished or self.ended:
                return
            if self._unstarted:
                self._start()
            link.attended[call] = None
            if call.finished:  # What ended it may have looked here before.
                link.attended.pop(call, None)
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

    def _start(self) -> None:
        while self._unstarted and not self.ended:
            work, wake = self._unstarted[-1]
            name = f"fastsock.rpc{work.__name__}"
            threading.Thread(target=work, args=(ref(self), wake), name=name, daemon=True).start()
            self._unstarted.pop()

    def look(self) -> None:
        """The link is dead, and what follows may be for one of its threads to do."""
        self._read_wake.set()
        self._write_wake.set()

    def take_over(self) -> None:
        """Read: nothing else does any more, and there are calls to read for."""
        self._read_wake.set()

    def send(self) -> None:
        """Let the sending thread send what waits. If no thread can be started, the next caller
        that sends or waits does it."""
        if self._unstarted:
            with suppress(RuntimeError):
                self.start()
        self._write_wake.set()

    def end(self) -> None:
        """The link is dead, and its calls are elsewhere: the threads end."""
        with self.link.lock:
            self.ended = True
            self.link.attended.clear()
        self.look()

    # ---- For its threads ----

    def lead(self) -> Client | None:
        """Begins to read for all, if there is a reason and nobody does; returns what from."""
        link = self.link
        with link.lock:
            if not link.attended or link.leader or link.dead:
                return None
            link.leader = threading.get_ident()
            return link.client

    def take(self, frames: list[bytes]) -> bool:
        """Frames have come, or none for ``keepalive``. Returns whether to go on reading."""
        self.link.heard(frames)
        return bool(self.link.attended) and not self.link.dead

    def send_turn(self) -> float | None:
        """Sends what waits, and ends calls whose time is over; returns the seconds until there is
        something to do again, None if that is not known."""
        if self.link.dead:
            self.link.recover_alone()
            return self._expire()
        try:
            more = self.link.sender.send_turn(self._looks_at)
        except (FastsockError, OSError) as error:
            self.link.lose(error)
            more = False
        left = self._expire()
        return 0.0 if more else left

    def failed(self, error: BaseException) -> None:
        """Something that should not be: the link ends, and its calls go on elsewhere or end."""
        log.error("a thread of a stub failed; it connects again", exc_info=error)
        self.link.lose(ConnectionClosed(f"a thread of the stub failed: {error!r}", "local"))

    def _expire(self) -> float | None:
        """Ends calls whose time is over; returns the seconds until the next one's is."""
        now = monotonic()
        if now >= self._looks_at:
            with self.link.lock:
                timed = [(call.ends_at(), call) for call in list(self.link.attended)]
                self._looks_at = min((until for until, _ in timed if until > now), default=inf)
            for until, call in timed:
                if until <= now:
                    call.expire()
        return None if self._looks_at == inf else max(0.0, self._looks_at - now)


def _read(held: "ref[Attendant]", wake: Flag) -> None:
    while (attendant := held()) is not None and not attendant.link.dead:
        client, keepalive = attendant.lead(), attendant.link.settings.keepalive
        del attendant
        if client is not None:
            _read_for_all(held, client, keepalive)
        else:
            wake.wait()
            wake.clear()


def _read_for_all(held: "ref[Attendant]", client: Client, keepalive: float) -> None:
    """Reads as long as there are calls to read for."""
    lost: Exception | None = None
    attendant: Attendant | None = None
    try:
        while True:
            del attendant
            frames = receive_from(client, keepalive)
            attendant = held()
            if attendant is None or not attendant.take(frames):
                return
    except (FastsockError, OSError) as error:
        lost = error.with_traceback(None)
    except BaseException as error:
        if (attendant := held()) is not None:
            attendant.failed(error)
    finally:
        attendant = held()
        if attendant is not None:
            attendant.link.end_wait(attendant, True)
            if lost is not None:
                attendant.link.lose(lost)


def _write(held: "ref[Attendant]", wake: Flag) -> None:
    left: float | None = None
    while True:
        wake.wait(left)
        wake.clear()
        attendant = held()
        if attendant is None or attendant.ended:
            return
        try:
            left = attendant.send_turn()
        except BaseException as error:
            attendant.failed(error)
            left = None
        del attendant
