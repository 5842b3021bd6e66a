"""The skeleton: unpacks the arguments of a call, runs the method, and packs what comes of it."""

import asyncio
import contextvars
import inspect
import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from time import monotonic
from typing import Any

import msgspec

from fastsock.rpc import wire
from fastsock.rpc._body import call_method
from fastsock.rpc._inline import InlineMethod, Tally
from fastsock.rpc.budget import Budget
from fastsock.rpc.calls import too_large
from fastsock.rpc.context import Context, _current
from fastsock.rpc.errors import (
    CODE_OF,
    Cancelled,
    DeadlineExceeded,
    Overloaded,
    RpcError,
    WrongArguments,
    WrongResult,
)
from fastsock.rpc.failures import clean, pack
from fastsock.rpc.interface import Signature
from fastsock.rpc.loop import LoopThread
from fastsock.rpc.marshal import owned
from fastsock.rpc.outgoing import Lane
from fastsock.rpc.pool import Pool
from fastsock.rpc.session import Encoded, Session, size_of

log = logging.getLogger("fastsock.rpc")

Interceptor = Callable[[Context, Callable[[], Any]], Any]
Methods = dict[int, tuple[Signature, Callable[..., Any], Tally]]
"""By their numbers on the wire."""

NIL = b"\xc0"

CALL_BYTES = 1024
"""About what a call that waits takes beside its arguments."""

STREAM_TURN_ITEMS = 64
"""Items of a stream after which its thread looks at other work first."""

_encode_failure = msgspec.msgpack.Encoder().encode


class _Refusal(Exception):
    """An error of this package, which travels under its code: unlike the same error when a method
    has caught it from a call of its own, it says something about this call."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(str(error))
        self.error = error


class Running:
    """A call that has begun at the server and has not ended."""

    __slots__ = (
        "arguments",
        "begun",
        "context",
        "flags",
        "function",
        "held",
        "lane",
        "number",
        "session",
        "signature",
        "tally",
    )

    def __init__(
        self,
        session: Session,
        number: int,
        signature: Signature,
        function: Callable[..., Any],
        tally: Tally,
        context: Context,
        flags: int,
        arguments: Any,
    ) -> None:
        self.session = session
        self.number = number
        self.signature = signature
        self.function = function
        self.tally = tally
        self.begun: float | None = monotonic()
        self.context = context
        self.flags = flags
        self.arguments = arguments
        self.held = 0
        self.lane = Lane() if signature.stream else None
        tally.began()


class Skeleton:
    """Runs calls: inline, in a pool of threads, or on an event loop beside it."""

    def __init__(
        self,
        service: str,
        *,
        threads_max: int,
        body_bytes_max: int,
        tracebacks: bool,
        interceptors: Sequence[Interceptor],
        budget: Budget,
    ) -> None:
        self._service = service
        self.budget = budget
        self._pool = Pool(threads_max)
        self._loop = LoopThread()
        self._body_bytes_max = body_bytes_max
        self._tracebacks = tracebacks
        self._interceptors = tuple(interceptors)
        self._idle = threading.Condition()
        self.running_count = 0
        self._waiting_count = 0

    def inline_methods(self, methods: Methods) -> dict[int, InlineMethod]:
        """Those whose calls InlineCalls may run."""
        if self._interceptors:
            return {}
        return {
            number: InlineMethod(signature, function, tally)
            for number, (signature, function, tally) in methods.items()
            if signature.options.inline and not signature.options.oneway
        }

    def check_interceptors(self, methods: Methods) -> None:
        """TypeError for a coroutine function that nobody would await."""
        for intercept in self._interceptors:
            if not callable(intercept):
                raise TypeError(f"an interceptor is a function, not {intercept!r}")
            for signature, _, _ in methods.values():
                blocking = signature.stream or not signature.asynchronous
                if blocking and inspect.iscoroutinefunction(intercept):
                    raise TypeError(
                        f"{intercept.__qualname__}() is async, and nobody awaits it around"
                        f" {signature.name}(); declare it with def"
                    )

    def run(self, call: Running) -> None:
        """Begins the call, on the thread that its method asks for."""
        signature = call.signature
        if signature.options.inline:
            if call.context.deadline is None or not self._is_over(call):
                self._run(call)
            return
        with self._idle:
            self.running_count += 1
        call.session.running[call.number] = call
        held = CALL_BYTES + len(call.arguments)
        if not self.budget.take(call.session, held):
            why = f"{signature.name} did not start: held_bytes_max = {self.budget.bytes_max}"
            self._fail(call, _Refusal(Overloaded(why)))
            return
        call.held = held
        try:
            if not signature.asynchronous:
                self._pool.submit(call.session.line, call, lambda: self._run_in_pool(call))
            else:
                self._loop.start(lambda: self._run_async(call))
        except RuntimeError as error:
            self._fail(call, _Refusal(Overloaded(f"{signature.name} did not start: {error}")))

    def drop(self, call: Running) -> None:
        """Ends a cancelled call if it has not begun."""
        if self._pool.remove(call.session.line, call):
            self._is_over(call)

    def wait_idle(self, timeout: float | None, own: int = 0) -> bool:
        """Waits until nothing runs but calls that wait for this, ``own`` of which is the caller's;
        False after timeout seconds."""
        with self._idle:
            self._waiting_count += own
            self._idle.notify_all()
            try:
                return self._idle.wait_for(self._is_idle, timeout)
            finally:
                self._waiting_count -= own

    def _is_idle(self) -> bool:
        return self.running_count <= self._waiting_count

    @property
    def on_loop(self) -> bool:
        """Whether the calling thread is that of the event loop."""
        return self._loop.is_current

    def close(self, timeout: float) -> None:
        """Ends the threads, after the calls that run."""
        self._pool.close(timeout)
        self._loop.close(timeout)

    # ---- Running ----

    def _run(self, call: Running) -> None:
        context = call.context
        token = _current.set(context)
        try:
            if self._interceptors:
                function, arguments = call.function, self._arguments(call)
                self._reply(call, self._intercepted(context, lambda: function(*arguments)))
            else:
                result, own = call_method(call.function, [self._arguments(call)])
                self._reply(call, result, own=own)
        except BaseException as error:  # SystemExit, too, is an answer, not the end of the server.
            self._fail(call, error)
        finally:
            _current.reset(token)

    def _run_in_pool(self, call: Running) -> None:
        if self._is_over(call):
            return
        if call.signature.stream:
            StreamRun(self, call).begin()
        else:
            self._run(call)

    async def _run_async(self, call: Running) -> None:
        if self._is_over(call):
            return
        _current.set(call.context)
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        call.context._on_cancel(lambda: _call_in(loop, task.cancel))
        try:
            function, arguments = call.function, self._arguments(call)
            result = self._intercepted(call.context, lambda: function(*arguments))
            if call.signature.stream:
                await AsyncStreamRun(self, call, result).run()
                return
            self._reply(call, await result if inspect.isawaitable(result) else result)
        except asyncio.CancelledError:
            self._fail(call, _Refusal(Cancelled(f"{call.signature.name} was cancelled")))
        except BaseException as error:
            self._fail(call, error)

    def _is_over(self, call: Running) -> bool:
        """Ends a call that nobody waits for any more, before it starts."""
        if not call.context.cancelled:
            return False
        name, deadline = call.signature.name, call.context.deadline
        late = deadline is not None and monotonic() >= deadline
        error = DeadlineExceeded if late else Cancelled
        why = f"{name} did not start: nobody waits for it any more"
        self._fail(call, _Refusal(error(why)))
        return True

    def _arguments(self, call: Running) -> Any:
        try:
            return call.signature.arguments_codec.decode(call.flags, call.arguments)
        except wire.Malformed as error:
            refused = WrongArguments(f"{call.signature.text}: {error}")
            raise _Refusal(refused) from None
        finally:
            call.arguments = None

    def _intercepted(self, context: Context, proceed: Callable[[], Any]) -> Any:
        for intercept in reversed(self._interceptors):
            proceed = _wrapped(intercept, context, proceed)
        return proceed()

    # ---- Ending ----

    def _reply(self, call: Running, result: Any, *, own: bool = False) -> None:
        flags, body = self.encode(call, result, own=own)
        self.end(call, wire.REPLY, flags, body)

    def end_inline(
        self, call: Running, result: Any, body: bytes | None, error: BaseException | None
    ) -> None:
        """Ends a call that InlineCalls has run: with the error, or with the result, whose body is
        None where only ``encode`` can make it."""
        if error is not None:
            self._fail(call, error)
            return
        try:
            if body is None:
                self._reply(call, result)
            else:
                self._check_size(body)
                self.end(call, wire.REPLY, 0, body)
        except BaseException as failed:
            self._fail(call, failed)

    def encode(self, call: Running, result: Any, *, own: bool = False) -> tuple[int, Encoded]:
        """A result, or an item of one, as flags and body. What others could change before it is
        sent is copied, unless it is ``own``."""
        try:
            flags, body = call.signature.result_codec.encode(result)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            wrong = WrongResult(f"{call.signature.text}: its result: {error}")
            raise _Refusal(wrong) from None
        if len(body) <= wire.CHUNK_BYTES and isinstance(body, bytes):
            return flags, body
        self._check_size(body)
        return flags, body if own or isinstance(body, bytes) else owned(body)

    def _check_size(self, body: Encoded) -> None:
        size = size_of(body)
        if size > self._body_bytes_max:
            raise _Refusal(too_large(size, self._body_bytes_max))

    def _fail(self, call: Running, error: BaseException) -> None:
        self.end(call, wire.ERROR, 0, self.failure(call, error))

    def failure(self, call: Running, error: BaseException) -> bytes:
        """The body of an ERROR frame."""
        if isinstance(error, _Refusal):
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
            self._check_size(body := _encode_failure(shown))
        except BaseException as failed:
            shown = wire.Failure(0, name, f"(its text cannot be made: {type(failed).__name__})")
            return _encode_failure(shown)
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

    def end(self, call: Running, kind: int, flags: int, body: Encoded) -> None:
        """Sends the last frame of a call and forgets the call."""
        session, options = call.session, call.signature.options
        call.tally.ended(kind == wire.ERROR, call.begun)
        if options.oneway:  # The client learns only that the call has ended.
            kind, flags, body = wire.REPLY, 0, NIL
        keep = not options.idempotent and not call.signature.stream
        session.answer(call.number, kind, flags, body, keep=keep, lane=call.lane)
        if not options.inline:
            self.budget.give(session, call.held)
            with self._idle:
                self.running_count -= 1
                if self._is_idle():
                    self._idle.notify_all()


def _wrapped(
    intercept: Interceptor, context: Context, proceed: Callable[[], Any]
) -> Callable[[], Any]:
    return lambda: intercept(context, proceed)


def failure_of(error: RpcError) -> bytes:
    """The body of an ERROR or REFUSED frame that stands for an error of this package."""
    return _encode_failure(wire.Failure(CODE_OF[type(error)], "", clean(str(error))))


class _Credit:
    """What the reader of a stream still lets come, in items and bytes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.items = wire.STREAM_ITEMS
        self.bytes = wire.STREAM_BYTES

    @property
    def spent(self) -> bool:
        return self.items <= 0 or self.bytes <= 0

    def take(self, size: int) -> None:
        with self.lock:
            self.items -= 1
            self.bytes -= size

    def give(self, items: int, size: int) -> None:
        with self.lock:
            self.items = min(self.items + items, wire.STREAM_ITEMS)
            self.bytes = min(self.bytes + size, wire.STREAM_BYTES)


class StreamRun:
    """A generator that runs as far as its reader's credit goes, and holds no thread beyond it."""

    def __init__(self, skeleton: Skeleton, call: Running) -> None:
        self._skeleton = skeleton
        self._call = call
        self._credit = _Credit()
        self._parked = False
        self._variables = contextvars.copy_context()
        self._iterator: Any = None

    def begin(self) -> None:
        """Starts it, on a thread of the pool."""
        call = self._call
        self._variables.run(_current.set, call.context)
        call.context._stream = self.credit
        call.context._on_cancel(lambda: self.credit(0, 0))
        try:
            arguments = self._skeleton._arguments(call)
            made = self._variables.run(
                self._skeleton._intercepted, call.context, lambda: call.function(*arguments)
            )
            self._iterator = iter(made)
        except BaseException as error:
            self._skeleton._fail(call, error)
            return
        self.step()

    def credit(self, items: int, size: int) -> None:
        """The reader took some, or there is a reason to look again."""
        self._credit.give(items, size)
        with self._credit.lock:
            parked, self._parked = self._parked, False
        if parked:
            self._submit()

    def _submit(self) -> None:
        self._skeleton._pool.submit(self._call.session.line, self, self.step)

    def step(self) -> None:
        """Sends items until credit, turn or items are over."""
        call = self._call
        for _ in range(STREAM_TURN_ITEMS):
            with self._credit.lock:
                if self._credit.spent and not call.context.cancelled:
                    self._parked = True
                    return
            if not self._send_next():
                return
        self._submit()

    def _send_next(self) -> bool:
        """One item; False at the end, which it sends."""
        call, skeleton = self._call, self._skeleton
        try:
            if call.context.cancelled:
                self._variables.run(_close, self._iterator)
                raise _Refusal(Cancelled(f"{call.signature.name} was cancelled"))
            item = self._variables.run(next, self._iterator, self)
            if item is self:
                skeleton.end(call, wire.END, 0, b"")
                return False
            flags, body = skeleton.encode(call, item)
        except BaseException as error:
            skeleton._fail(call, error)
            return False
        self._credit.take(size_of(body))
        call.session.answer(call.number, wire.ITEM, flags, body, keep=False, lane=call.lane)
        return True


def _close(iterator: Any) -> None:
    if hasattr(iterator, "close"):
        iterator.close()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # The loop has ended, and its tasks with it.
        loop.call_soon_threadsafe(callback)


def _closing(items: Any) -> AbstractAsyncContextManager[Any]:
    """Lets an asynchronous generator clean up when its reader has gone."""
    return aclosing(items) if hasattr(items, "aclose") else nullcontext()


class AsyncStreamRun:
    """An asynchronous generator, which waits on its event loop where the credit ends."""

    def __init__(self, skeleton: Skeleton, call: Running, items: Any) -> None:
        self._skeleton = skeleton
        self._call = call
        self._items = items
        self._credit = _Credit()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        call.context._stream = self.credit

    def credit(self, items: int, size: int) -> None:
        """The reader took some."""
        self._credit.give(items, size)
        _call_in(self._loop, self._more.set)

    async def run(self) -> None:
        """Sends all items and the end."""
        async with _closing(self._items):
            await self._send_all()
        self._skeleton.end(self._call, wire.END, 0, b"")

    async def _send_all(self) -> None:
        call = self._call
        async for item in self._items:
            flags, body = self._skeleton.encode(call, item)
            self._credit.take(size_of(body))
            call.session.answer(call.number, wire.ITEM, flags, body, keep=False, lane=call.lane)
            while self._credit.spent:
                self._more.clear()
                if self._credit.spent:
                    await self._more.wait()
