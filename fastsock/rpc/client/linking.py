"""Which link a stub has, and how it gets another one."""

import random
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Protocol

from fastsock.core._lock import Lock
from fastsock.core.address import Address
from fastsock.core.flag import Flag
from fastsock.errors import FastsockError
from fastsock.rpc import wire
from fastsock.rpc.client._calling import deadline_now
from fastsock.rpc.client.attempts import Attempts
from fastsock.rpc.client.calls import Call
from fastsock.rpc.client.link import Link, Owner
from fastsock.rpc.client.route import Route
from fastsock.rpc.context import seconds_left
from fastsock.rpc.errors import Cancelled, ConnectionLost, DeadlineExceeded, RpcError, Unavailable

__all__ = ["Linking"]

PAUSE_FIRST = 0.02
PAUSE_MOST = 0.5
"""Seconds between attempts to connect again."""

LOOK_SECONDS = 0.1
"""How soon a call that was cancelled stops to wait for a connection."""

FAILURES = (OSError, ValueError, RpcError)
"""What an address is passed over for."""


class Holder(Owner, Protocol):
    """What holds the link of a stub."""

    link: Any


class Linking:
    """Keeps ``connector.link``.

    ``turn`` is held by the thread that connects, for all the others, which wait for it no longer
    than their calls have time. ``_lock`` is held for moments, and never while anything waits.
    """

    def __init__(self, connector: Holder, route: Route) -> None:
        self._connector = connector
        self._settings = connector.settings
        self.route = route
        self.turn = Lock()
        self._lock = Lock()
        self.closed = False
        self._over = Flag()
        """Set when the stub is closed: what pauses sleep on."""
        self._left: list[Link] = []
        """Links to servers that drain, with calls that have not ended."""

    # ---- Connecting ----

    def open(self, resumes: Link | None, call: Call[Any] | None = None) -> Link:
        """Connects to the first server that takes it; tries for ``retry`` seconds, where there was
        a link before, and no longer than the call that needs it, if there is one, has time."""
        deadline = deadline_now() if call is None else call.deadline
        deadline = inf if deadline is None else deadline
        until, pause = min(monotonic() + self._settings.retry, deadline), PAUSE_FIRST
        while True:
            outcome = self._connect_any(resumes, deadline)
            if isinstance(outcome, Link):
                if not self.closed:
                    return outcome
                outcome.close()
            if self.closed:
                raise ConnectionLost("the stub is closed")
            given_up = call is not None and call.finished
            if resumes is None or given_up or monotonic() + pause > until:
                if isinstance(outcome, RpcError):
                    raise outcome
                why = getattr(outcome, "strerror", None) or str(outcome or self.route)
                raise Unavailable(why) from (None if isinstance(outcome, Link) else outcome)
            self._over.wait(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, PAUSE_MOST)

    def _connect_any(self, resumes: Link | None, deadline: float) -> Link | Exception | None:
        """A link to one of the route's addresses; else the last error, None without an address.
        One limit holds for all: to ask where they are, to look up, to connect and to greet."""
        until = min(deadline, monotonic() + self._settings.connect_timeout)

        def connect(address: Address) -> Link:
            left = max(until - monotonic(), 0.001)
            same = resumes is not None and resumes.address == address
            return Link.opened(self._connector, address, left, resumes if same else None)

        attempts = Attempts(connect, Link.close, self.route.failed, FAILURES)
        try:
            addresses = self.route.addresses(until)
        except FAILURES as error:
            return error
        link = attempts.first(addresses, until)
        if isinstance(link, Link):
            self.route.worked(link.address)
        return link

    # ---- The current link ----

    @property
    def link(self) -> Link:
        """The link that new calls go to."""
        link: Link = self._connector.link
        return link

    def relink(self, old: Link, call: Call[Any]) -> Link:
        """The link that new calls go to, since the old one is dead or draining."""
        while old.dead and not old.recovered.is_set():
            old.await_recovery(self._patience(call))
        if self.turn.mine:
            raise RuntimeError(
                "this thread is in the middle of connecting for this stub: a signal handler or"
                " __del__ cannot call it now"
            )
        try:
            while not self.turn.acquire(timeout=self._patience(call)):
                pass
            if self.link is not old:
                return self.link
            if not old.dead:
                if not self.has_others(old, call):
                    return old
                self.route.failed(old.address)  # It drains: the others are tried first.
            return self.replace(old, self.open(old if old.dead else None, call))
        finally:
            if self.turn.mine:  # A signal handler may raise at once when it is taken, or before.
                self.turn.release()

    def replace(self, old: Link, link: Link) -> Link:
        """From now on calls go to that link. ConnectionLost if the stub has been closed."""
        with self._lock:
            closed = self.closed
            if not closed:
                self._connector.link = link
                self._left = [each for each in self._left if not each.dead]
                if not old.dead:
                    self._left.append(old)
        if closed:
            link.close()
            self._connector.lost(link, ConnectionLost("the stub is closed"), move=False)
            raise ConnectionLost("the stub is closed")
        if not old.dead:
            old.leave()
        return link

    def has_others(self, link: Link, call: Call[Any]) -> bool:
        """Whether the call may go to a server elsewhere. It may take asking a matchmaker."""
        until = monotonic() + self._settings.connect_timeout
        until = until if call.deadline is None else min(until, call.deadline)
        return self.route.has_others(link.address, until)

    def _patience(self, call: Call[Any]) -> float:
        """Seconds to wait for a new link before looking whether the call still wants one."""
        if self.closed:
            raise ConnectionLost("the stub is closed")
        if call.finished:
            raise Cancelled(f"{call.signature.name} has ended before there was a connection")
        left = seconds_left(call.deadline)
        if left == 0:
            raise DeadlineExceeded("there was no connection in time")
        return LOOK_SECONDS if left is None else min(left, LOOK_SECONDS)

    def pause(self, seconds: float) -> None:
        """Sleeps, at most until the stub is closed."""
        self._over.wait(seconds)

    # ---- The end ----

    def disown(self) -> None:
        """In a forked child: leaves the parent its links."""
        self.turn, self._lock = Lock(), Lock()
        for link in self.link, *self._left:
            link.disown()
        self._left = []

    def drop(self) -> bool:
        """Closes what is open, for a stub that the program has dropped: nobody holds a lock of it,
        or waits for one of its calls. Returns whether there was something to close."""
        self.closed = True
        links = [each for each in (self.link, *self._left) if not each.dead]
        for link in links:
            link.sender.dead = True
            with suppress(FastsockError, OSError):  # That it cancels what runs.
                link.client.send(wire.frame(wire.BYE), timeout=0)
            link.client._close(0.0)
        for link in (self.link, *self._left):
            link.attendant.ended = True
            link.attendant.look()
        return bool(links)

    def close(self) -> list[Link]:
        """Closes the links and returns those that lived; from now on there is no other one."""
        with self._lock:
            self.closed = True
            links = [self.link, *self._left]
        self._over.set()
        alive = [link for link in links if not link.dead]
        for link in alive:
            link.close()
        return alive
