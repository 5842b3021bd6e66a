"""What connections bring: each frame goes to the part of the server that it is for."""

import struct
from collections.abc import Callable
from contextlib import suppress

from fastsock.errors import ConnectionClosed
from fastsock.rpc import wire
from fastsock.rpc.errors import BadRequest, RpcError
from fastsock.rpc.server.admission import Admission
from fastsock.rpc.server.limits import Limits
from fastsock.rpc.server.reception import Reception
from fastsock.rpc.server.session import Session
from fastsock.rpc.server.sessions import Sessions
from fastsock.rpc.values.failures import failure_of
from fastsock.rpc.wire.handshake import Challenged
from fastsock.server._connection import Connection

__all__ = ["Intake"]

KEPT_MAX = 1024
"""Answers that are kept for one client: no ACK needs to name more."""

_unpack = wire.HEADER.unpack_from


class Intake:
    """Handles what the engines report. A connection's ``context`` is its Session once it has been
    greeted, and False if nothing more is heard from it."""

    def __init__(
        self,
        reception: Reception,
        sessions: Sessions,
        admission: Admission,
        limits: Limits,
        look: Callable[[], object],
    ) -> None:
        """``look()`` tells that a session may have to be forgotten, or a client be closed."""
        self._reception = reception
        self._sessions = sessions
        self._admission = admission
        self._limits = limits
        self._look = look

    def received(self, conn: Connection, frame: bytes) -> None:
        """A frame has come that InlineCalls does not take."""
        session = conn.context
        if session.__class__ is not Session:
            if session is None or session.__class__ is Challenged:
                self._greet(conn, frame)
            return
        if len(frame) < wire.HEADER_BYTES:
            refuse(conn, BadRequest(f"a frame of {len(frame)} bytes has no header"))
            return
        fields = _unpack(frame)
        if fields[0] == wire.CALL:
            self._admission.call(session, wire.Header(*fields), frame)
        else:
            self._control(session, fields, frame)

    def disconnected(self, conn: Connection, reason: str) -> None:
        """A connection has ended. The handler of the engine."""
        session = conn.context
        if not isinstance(session, Session) or session.conn is not conn:
            return
        session.detach()
        self._sessions.left(session)
        self._look()

    def _greet(self, conn: Connection, frame: bytes) -> None:
        try:
            hello = self._reception.hear(conn, frame)
        except RpcError as error:
            refuse(conn, error)
            return
        if hello is None:
            return
        session, resumed = self._sessions.open(hello)
        if session.conn is not None:
            session.conn.context = False
            session.conn.close()
            session.detach()
        session.attach(conn, 2 * self._limits.calls_max, self._look)
        conn.context = session
        conn._trust()
        with suppress(ConnectionClosed):  # Its end is told to disconnected().
            conn.send(self._reception.welcome(session, resumed=resumed))
            if self._admission.draining:
                conn.send(wire.frame(wire.DRAIN, session.highest))

    def _control(self, session: Session, fields: tuple[int, ...], frame: bytes) -> None:
        kind, _, _, amount, number, extra = fields
        outgoing, conn = session.outgoing, session.conn
        if outgoing is None or conn is None:
            return
        if kind == wire.CHUNK:
            self._admission.more(session, number, frame)
        elif kind == wire.CREDIT and number == 0:
            outgoing.credit(amount)
        elif kind == wire.CREDIT:
            call = session.running.get(number)
            if call is not None and call.context._stream is not None:
                call.context._stream(amount, extra)
        elif kind == wire.CANCEL:
            self._admission.cancel(session, number)
        elif kind == wire.ACK:
            forget_answers(session, conn, memoryview(frame)[wire.HEADER_BYTES :])
        elif kind == wire.PING:
            outgoing.put_control(wire.frame(wire.PONG))
        elif kind == wire.BYE:
            # What its calls return, now that they are cancelled, is no result: it must not meet the
            # client while that is closing.
            conn.context = False
            self._sessions.end(session)
        else:
            refuse(conn, BadRequest(f"a frame of unknown kind {kind}"))


def forget_answers(session: Session, conn: Connection, payload: memoryview) -> None:
    """The client has the answers that an ACK names."""
    count = len(payload) // 8
    if count > KEPT_MAX:
        why = f"an ACK names {count} calls; {KEPT_MAX} are the most that are kept"
        refuse(conn, BadRequest(why))
        return
    session.forget(struct.unpack_from(f">{count}Q", payload))


def refuse(conn: Connection, error: RpcError) -> None:
    """Says why, and closes the connection. A client that is refused has no second hello."""
    if not isinstance(conn.context, Session):
        conn.context = False
    with suppress(ConnectionClosed):  # It has ended by itself.
        conn.send(wire.frame(wire.REFUSED, payload=failure_of(error)))
    conn.close()
