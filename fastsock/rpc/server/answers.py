"""What comes of a call: its result, the items of its stream or its failure, made and sent."""

import logging
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

from fastsock.rpc import wire
from fastsock.rpc.context import Ending, How
from fastsock.rpc.errors import (
    Cancelled,
    DeadlineExceeded,
    RpcError,
    WrongResult,
    too_large,
)
from fastsock.rpc.server.session import Encoded, Running, size_of
from fastsock.rpc.values.failures import clean, failure_of, pack
from fastsock.rpc.values.marshal import owned

log = logging.getLogger("fastsock.rpc")

SLACK_SECONDS = 0.05
"""A client whose time is over cancels its call, which may arrive a little before the deadline here:
that was made later, when the call had come."""


class Refusal(Exception):
    """An error of this package, which travels under its code: unlike the same error when a method
    has caught it from a call of its own, it says something about this call."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(str(error))
        self.error = error


class Answers:
    """Ends calls, and sends what comes of them. ``ended(call)`` is told of each that has."""

    def __init__(
        self,
        service: str,
        ended: Callable[[Running], object],
        *,
        body_bytes_max: int,
        tracebacks: bool,
    ) -> None:
        self._service = service
        self._ended = ended
        self._body_bytes_max = body_bytes_max
        self._tracebacks = tracebacks

    def reply(self, call: Running, result: Any, *, own: bool = False) -> None:
        """Ends the call with its result. What others could change before it is sent is copied,
        unless it is ``own``. Raises Refusal if it cannot be sent."""
        flags, body = self._encode(call, result, own=own)
        self._end(call, wire.REPLY, flags, body)

    def reply_encoded(self, call: Running, body: bytes) -> None:
        """Ends the call with a result that is packed already, without segments."""
        self._check_size(body)
        self._end(call, wire.REPLY, 0, body)

    def item(self, call: Running, item: Any) -> int:
        """Sends an item of a stream; returns how many bytes it takes."""
        flags, body = self._encode(call, item)
        call.session.answer(call.number, wire.ITEM, flags, body, keep=False, lane=call.lane)
        call.items += 1
        return size_of(body)

    def end_stream(self, call: Running) -> None:
        """Ends the call of a stream, whose items have all been sent."""
        self._end(call, wire.END, 0, b"")

    def fail(self, call: Running, error: BaseException) -> None:
        """Ends the call with what its method has raised, or a Refusal."""
        self._end(call, wire.ERROR, 0, self._failure(call, error), error)

    def refuse(self, call: Running, error: RpcError) -> None:
        """Ends the call with an error of this package."""
        self.fail(call, Refusal(error))

    def _encode(self, call: Running, result: Any, *, own: bool = False) -> tuple[int, Encoded]:
        try:
            flags, body = call.signature.result_codec.encode(result)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            wrong = WrongResult(f"{call.signature.text}: its result: {error}")
            raise Refusal(wrong) from None
        if len(body) <= wire.CHUNK_BYTES and isinstance(body, bytes):
            return flags, body
        self._check_size(body)
        return flags, body if own or isinstance(body, bytes) else owned(body)

    def _check_size(self, body: Encoded) -> None:
        size = size_of(body)
        if size > self._body_bytes_max:
            raise Refusal(too_large(size, self._body_bytes_max))

    def _failure(self, call: Running, error: BaseException) -> bytes:
        """The body of an ERROR frame."""
        if isinstance(error, Refusal):
            if call.signature.options.oneway and not isinstance(error.error, Cancelled):
                self._log(call, error.error)
            return failure_of(error.error)
        if not isinstance(error, (*call.signature.options.raises, RpcError)):
            self._log(call, error)
        if isinstance(error, DeadlineExceeded):
            return failure_of(DeadlineExceeded(str(error)))
        name = clean(type(error).__qualname__)
        try:
            text = "".join(traceback.format_exception(error)) if self._tracebacks else ""
            shown = wire.Failure(0, name, clean(str(error)), clean(text, 1 << 15))
            shown.values = pack(error, call.signature.options.raises)
            self._check_size(body := wire.encode(shown))
        except BaseException as failed:
            shown = wire.Failure(0, name, f"(its text cannot be made: {type(failed).__name__})")
            return wire.encode(shown)
        return body

    def _log(self, call: Running, error: BaseException) -> None:
        """The caller may not tell anybody that the method has failed, so the server does."""
        try:
            log.error(
                "%s.%s failed, call %d of %s",
                self._service,
                call.signature.name,
                call.number,
                call.context.peer,
                exc_info=error,
            )
        except BaseException:  # Its text cannot be made.
            log.error(
                "%s.%s failed, call %d of %s, with %s",
                self._service,
                call.signature.name,
                call.number,
                call.context.peer,
                type(error).__name__,
            )

    def _end(
        self,
        call: Running,
        kind: int,
        flags: int,
        body: Encoded,
        error: BaseException | None = None,
    ) -> None:
        """Sends the last frame of a call and forgets the call."""
        session, options = call.session, call.signature.options
        call.tally.ended(kind == wire.ERROR, call.begun)
        if options.oneway:  # The client learns only that the call has ended.
            kind, flags, body = wire.REPLY, 0, wire.NIL
        keep = not options.idempotent and not call.signature.stream
        session.answer(call.number, kind, flags, body, keep=keep, lane=call.lane)
        for callback, begun in call.context._take_ends():
            self._tell(call, callback, begun, error)
        self._ended(call)

    def _tell(
        self,
        call: Running,
        callback: Callable[[Ending], object],
        begun: float,
        error: BaseException | None,
    ) -> None:
        """Tells an interceptor how the call has ended."""
        if isinstance(error, Refusal):
            error = error.error
        try:
            callback(Ending(_how(call, error), error, call.items, monotonic() - begun))
        except BaseException:
            log.exception("a callback of %s.%s failed", self._service, call.signature.name)


def _how(call: Running, error: BaseException | None) -> How:
    if error is None:
        return "done"
    cancelled, deadline = isinstance(error, Cancelled), call.context.deadline
    if deadline is not None and monotonic() >= deadline - (SLACK_SECONDS if cancelled else 0.0):
        return "deadline"
    return "cancelled" if cancelled else "error"
