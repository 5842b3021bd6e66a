"""Which calls begin: gathers their arguments, and says what speaks against them.

``InlineCalls`` keeps the same rules for plain calls, and leaves to this file whatever they speak
against; tests/rpc/test_rpc_admission.py feeds both the same frames.
"""

from collections import ChainMap
from types import MappingProxyType

from fastsock.rpc import wire
from fastsock.rpc.context import Context, metadata_size
from fastsock.rpc.errors import (
    BadRequest,
    Cancelled,
    OutcomeUnknown,
    Overloaded,
    RpcError,
    Unavailable,
    UnknownMethod,
    too_large,
)
from fastsock.rpc.server._inline import deadline_of
from fastsock.rpc.server.limits import Limits
from fastsock.rpc.server.session import Assembly, Running, Session
from fastsock.rpc.server.skeleton import Methods, Skeleton
from fastsock.rpc.values.failures import failure_of

__all__ = ["Admission"]

BUILT_IN = 1 << 15
"""The numbers of built-in methods begin above it. They are answered by a server that drains."""


class Admission:
    """Takes the frames of calls, and hands those that begin to the skeleton."""

    def __init__(self, service: str, methods: Methods, skeleton: Skeleton, limits: Limits) -> None:
        self._service = service
        self._methods = methods
        self._skeleton = skeleton
        self._limits = limits
        self.draining = False
        """Whether no call begins any more."""

    def call(self, session: Session, header: wire.Header, frame: bytes) -> None:
        """A CALL has come."""
        if header.flags & wire.MORE:
            self._gather_first(session, header, frame)
        else:
            self._begin(session, header, memoryview(frame)[wire.HEADER_BYTES :])

    def more(self, session: Session, number: int, frame: bytes) -> None:
        """A CHUNK of the arguments of that call has come; of a refused one it is dropped."""
        if number in session.assembling:
            self._gather(session, number, frame, wire.HEADER_BYTES)

    def cancel(self, session: Session, number: int) -> None:
        """A CANCEL of that call has come."""
        if session.cancel(number):
            self._refuse(session, number, Cancelled("cancelled before it had come"))

    # ---- Arguments in several frames ----

    def _gather_first(self, session: Session, header: wire.Header, frame: bytes) -> None:
        number = header.call
        at = wire.HEADER_BYTES + wire.TOTAL.size
        if len(frame) < at:
            self._refuse(session, number, BadRequest(f"call {number} ends before its length"))
            return
        (total,) = wire.TOTAL.unpack_from(frame, wire.HEADER_BYTES)
        limit = self._limits.body_bytes_max
        if total > limit:
            session.seen(number)
            self._refuse(session, number, too_large(total, limit))
            return
        if len(session.assembling) >= self._limits.calls_max:
            self._refuse(session, number, self._overloaded())
            return
        if number in session.assembling:
            self._refuse(session, number, BadRequest(f"call {number} begins twice"))
            return
        if number > session.highest:
            session.note_incomplete(number, self._limits.calls_max)
        whole = header._replace(flags=header.flags & ~wire.MORE)
        session.assembling[number] = Assembly(whole, total)
        self._gather(session, number, frame, at)

    def _gather(self, session: Session, number: int, frame: bytes, at: int) -> None:
        """Adds to a body what the frame holds from there on; begins the call when it is whole."""
        budget = self._skeleton.budget
        if not budget.take(session, len(frame) - at):
            session.drop_body(number)
            session.seen(number)
            error = Overloaded(f"no room for its body: held_bytes_max = {budget.bytes_max}")
            self._refuse(session, number, error)
            return
        body = session.add_piece(number, frame, at)
        if body is None:
            return
        if body.missing < 0:
            session.seen(number)
            self._refuse(session, number, BadRequest(f"call {number} is too long"))
            return
        self._begin(session, body.header, memoryview(body.data))

    # ---- Whole calls ----

    def _begin(self, session: Session, header: wire.Header, body: memoryview) -> None:
        number = header.call
        if session.seen(number):
            self._again(session, number)
            return
        found = self._methods.get(header.method)
        if found is None:
            why = f"{self._service} has no method {header.method}"
            self._refuse(session, number, UnknownMethod(why))
            return
        if self.draining and header.method < BUILT_IN:
            self._refuse(session, number, Unavailable("the server is draining"))
            return
        if len(session.running) >= self._limits.calls_max:
            self._refuse(session, number, self._overloaded())
            return
        metadata = session.metadata
        if header.flags & wire.METADATA:
            try:
                own, body = self._read_metadata(header, body)
            except wire.Malformed as error:
                bad = BadRequest(f"the metadata is no map of str to str: {error}")
                self._refuse(session, number, bad)
                return
            metadata = MappingProxyType(ChainMap(own, session.shared))
        signature, function, tally = found
        context = Context(session.peer, signature.name, metadata, deadline_of(header.extra))
        call = Running(session, number, signature, function, tally, context, header.flags, body)
        self._skeleton.run(call)

    def _read_metadata(
        self, header: wire.Header, body: memoryview
    ) -> tuple[dict[str, str], memoryview]:
        """The metadata before the arguments, and the arguments."""
        size = int.from_bytes(body[:2])
        own = wire.read_metadata(body[2 : 2 + size])
        if metadata_size(own) > self._limits.metadata_bytes_max:
            raise wire.Malformed("it is too long")
        body = body[2 + size :]
        if header.flags & wire.SEGMENTS:  # Arrays are aligned within a body of their own.
            body = memoryview(bytearray(body))
        return own, body

    def _again(self, session: Session, number: int) -> None:
        """A call that has been here: it is joined, answered again, or too old to know."""
        if number in session.running or session.answer_again(number):
            return
        error = OutcomeUnknown("the call has been here before; its answer is not kept any more")
        self._refuse(session, number, error)

    def _overloaded(self) -> RpcError:
        return Overloaded(f"calls_max = {self._limits.calls_max} calls run already")

    def _refuse(self, session: Session, number: int, error: RpcError) -> None:
        session.answer(number, wire.ERROR, 0, failure_of(error), keep=False)
