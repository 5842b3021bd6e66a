"""The skeleton: unpacks the arguments of a call and runs its method, on the right thread."""

import inspect
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from fastsock.rpc import wire
from fastsock.rpc.context import Context, _current
from fastsock.rpc.errors import Cancelled, DeadlineExceeded, Overloaded, RpcError, WrongArguments
from fastsock.rpc.server._inline import InlineMethod, Tally
from fastsock.rpc.server.answers import Answers, Refusal
from fastsock.rpc.server.budget import Budget
from fastsock.rpc.server.loop import LoopThread
from fastsock.rpc.server.pool import Pool
from fastsock.rpc.server.session import Running
from fastsock.rpc.server.streams import AsyncStreamRun, StreamRun, call_in
from fastsock.rpc.signature import Signature
from fastsock.rpc.values.weights import UNWEIGHED_BYTES, VALUE_BYTES
from fastsock.rpc.wire._body import call_method

Interceptor = Callable[[Context, Callable[[], Any]], Any]
Methods = dict[int, tuple[Signature, Callable[..., Any], Tally]]
"""By their numbers on the wire."""

CALL_BYTES = 1024
"""About what a call that waits takes beside its arguments."""


class Skeleton:
    """Runs calls: inline, in a pool of threads, or on an event loop beside it."""

    def __init__(
        self,
        service: str,
        *,
        threads_max: int,
        body_bytes_max: int,
        values_max: int,
        tracebacks: bool,
        interceptors: Sequence[Interceptor],
        budget: Budget,
    ) -> None:
        self.budget = budget
        self._answers = Answers(
            service, self._ended, body_bytes_max=body_bytes_max, tracebacks=tracebacks
        )
        self._values_max = values_max
        self._pool = Pool(threads_max)
        self._loop = LoopThread()
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
            self._answers.refuse(call, Overloaded(why))
            return
        call.held = held
        try:
            if not signature.asynchronous:
                self._pool.submit(call.session.line, call, lambda: self._run_in_pool(call))
            else:
                self._loop.start(lambda: self._run_async(call))
        except (RuntimeError, OSError) as error:  # No thread, or no descriptor for its loop.
            self._answers.refuse(call, Overloaded(f"{signature.name} did not start: {error}"))

    def end_waiting(self, call: Running, error: RpcError) -> bool:
        """Ends a call with that error if it waits for a thread; returns whether it did."""
        waited = self._pool.remove(call.session.line, call)
        if waited:
            self._answers.refuse(call, error)
        return waited

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
                self._answers.reply(call, self._call(call))
            else:
                result, own = call_method(call.function, [self._arguments(call)])
                self._answers.reply(call, result, own=own)
        except BaseException as error:  # SystemExit, too, is an answer, not the end of the server.
            self._answers.fail(call, error)
        finally:
            _current.reset(token)

    def _run_in_pool(self, call: Running) -> None:
        if self._is_over(call):
            return
        if call.signature.stream:
            line = call.session.line
            StreamRun(
                call,
                self._answers,
                lambda: self._call(call),
                lambda key, work: self._pool.submit(line, key, work),
            ).begin()
        else:
            self._run(call)

    async def _run_async(self, call: Running) -> None:
        import asyncio

        if self._is_over(call):
            return
        _current.set(call.context)
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        call.context._on_cancel(lambda: call_in(loop, task.cancel))
        try:
            result = self._call(call)
            if call.signature.stream:
                await AsyncStreamRun(call, self._answers, result).run()
                return
            result = await result if inspect.isawaitable(result) else result
            self._answers.reply(call, result)
        except asyncio.CancelledError:
            self._answers.refuse(call, Cancelled(f"{call.signature.name} was cancelled"))
        except BaseException as error:
            self._answers.fail(call, error)

    def _is_over(self, call: Running) -> bool:
        """Ends a call that nobody waits for any more, before it starts."""
        if not call.context.cancelled:
            return False
        deadline = call.context.deadline
        late = deadline is not None and monotonic() >= deadline
        self._answers.refuse(call, _not_started(call, DeadlineExceeded if late else Cancelled))
        return True

    def _arguments(self, call: Running) -> Any:
        codec = call.signature.arguments_codec
        try:
            if len(call.arguments) > UNWEIGHED_BYTES:
                self._weigh(call)
            arguments = codec.decode(call.flags, call.arguments)
        except wire.Malformed as error:
            refused = WrongArguments(f"{call.signature.text}: {error}")
            raise Refusal(refused) from None
        finally:
            call.arguments = None
        if call.context.deadline is not None and monotonic() >= call.context.deadline:
            raise Refusal(_not_started(call, DeadlineExceeded))
        return arguments

    def _weigh(self, call: Running) -> None:
        """Counts what its arguments take when they are decoded. Raises Malformed or Refusal."""
        codec = call.signature.arguments_codec
        size = VALUE_BYTES * codec.weigh(call.flags, call.arguments, self._values_max)
        if not call.held:  # It runs at once, in the thread of the server.
            return
        if not self.budget.take(call.session, size):
            why = f"no room for its arguments: held_bytes_max = {self.budget.bytes_max}"
            raise Refusal(Overloaded(f"{call.signature.name}: {why}"))
        call.held += size

    def _call(self, call: Running) -> Any:
        """Calls the method, through the interceptors."""
        function, arguments = call.function, self._arguments(call)

        def proceed() -> Any:
            return function(*arguments)

        for intercept in reversed(self._interceptors):
            proceed = _wrapped(intercept, call.context, proceed)
        return proceed()

    # ---- Ending ----

    def end_inline(
        self, call: Running, result: Any, body: bytes | None, error: BaseException | None
    ) -> None:
        """Ends a call that InlineCalls has run: with the error, or with the result, whose body is
        None if only ``Answers`` can make it."""
        if error is not None:
            self._answers.fail(call, error)
            return
        try:
            if body is None:
                self._answers.reply(call, result)
            else:
                self._answers.reply_encoded(call, body)
        except BaseException as failed:
            self._answers.fail(call, failed)

    def _ended(self, call: Running) -> None:
        if call.signature.options.inline:
            return
        self.budget.give(call.session, call.held)
        with self._idle:
            self.running_count -= 1
            if self._is_idle():
                self._idle.notify_all()


def _not_started(call: Running, error: type[RpcError]) -> RpcError:
    return error(f"{call.signature.name} did not start: nobody waits for it any more")


def _wrapped(
    intercept: Interceptor, context: Context, proceed: Callable[[], Any]
) -> Callable[[], Any]:
    return lambda: intercept(context, proceed)
