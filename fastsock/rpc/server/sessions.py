"""The clients of a server, by their sessions: those that are here, and those that may come back."""

import threading
from collections import OrderedDict
from time import monotonic

from fastsock.rpc import wire
from fastsock.rpc.server.budget import Budget
from fastsock.rpc.server.limits import Limits
from fastsock.rpc.server.session import Runner, Session

__all__ = ["Sessions"]


class Sessions:
    """All methods may be called by any thread."""

    def __init__(self, limits: Limits, budget: Budget, runner: Runner) -> None:
        self._limits = limits
        self._budget = budget
        self._runner = runner
        self._lock = threading.Lock()
        self._known: dict[bytes, Session] = {}
        self._away: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Session]:
        """Those that are here, and those that are away."""
        with self._lock:
            return list(self._known.values())

    def open(self, hello: wire.ClientHello) -> tuple[Session, bool]:
        """The session of a client that has come, and whether it goes on with one that is known."""
        with self._lock:
            known = self._known.get(hello.session)
            session = known if hello.resume else None
            resumed = session is not None
            if session is None:
                session = Session(hello.session, hello.metadata, self._budget, self._runner)
            self._known[hello.session] = session
            self._away.pop(hello.session, None)
        if known is not None and known is not session:
            known.forget_all()
        return session, resumed

    def left(self, session: Session) -> None:
        """The connection of the session has ended, and it is detached: the client may come back."""
        with self._lock:
            away = self._known.get(session.token) is session
            if away:
                self._away[session.token] = session
        if not away:
            session.forget_all()

    def end(self, session: Session) -> None:
        """The client has said goodbye."""
        with self._lock:
            if self._known.get(session.token) is session:
                del self._known[session.token]
        session.detach()
        session.forget_all()
        session.cancel_all(oneway=False)

    def close_slow(self) -> float | None:
        """Closes clients that do not read their answers; returns in how many seconds the next one
        may be one of them, None if no answer waits."""
        outgoings = (session.outgoing for session in self.all())
        seconds = self._limits.reading_seconds
        due = (each.close_if_slow(seconds) for each in outgoings if each is not None)
        return min((each for each in due if each is not None), default=None)

    def forget_due(self) -> float | None:
        """Forgets those that are away for too long, or too many; returns in how many seconds the
        next one is due, None if all are here."""
        with self._lock:
            forgotten = self._take_due()
            first = next(iter(self._away.values()), None)
        for session in forgotten:
            session.forget_all()
            session.cancel_all()
        if first is None or first.left_at is None:
            return None
        return max(0.01, first.left_at + self._limits.session_seconds - monotonic())

    def _take_due(self) -> list[Session]:
        forgotten: list[Session] = []
        before = monotonic() - self._limits.session_seconds
        while self._away:
            token, session = next(iter(self._away.items()))
            recent = session.left_at is None or session.left_at > before
            if recent and len(self._away) <= self._limits.sessions_max:
                break
            del self._away[token]
            self._known.pop(token, None)
            forgotten.append(session)
        return forgotten
