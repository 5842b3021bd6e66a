"""Calls as their caller sees them: results that come later, and streams."""

import inspect
import warnings
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Generic, Protocol, Self, TypeVar

from fastsock.core._lock import Lock
from fastsock.core.options import check_callback
from fastsock.errors import ConnectionClosed
from fastsock.rpc import wire
from fastsock.rpc.client._calling import CallCore, Endings, awaited
from fastsock.rpc.client.settings import Settings
from fastsock.rpc.context import Ending, How
from fastsock.rpc.errors import (
    CODES,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    OutcomeUnknown,
    RemoteError,
    RpcError,
    Unavailable,
    WrongResult,
)
from fastsock.rpc.signature import Signature
from fastsock.rpc.values.failures import read_failure, unpack
from fastsock.rpc.values.marshal import owned
from fastsock.rpc.values.weights import UNWEIGHED_BYTES

__all__ = ["Call", "Stream", "awaited"]

R = TypeVar("R")
T = TypeVar("T")


class Caller(Protocol):
    """What a call needs of the stub that makes it."""

    @property
    def endings(self) -> Endings: ...
    @property
    def settings(self) -> Settings: ...

    def wait(self, call: "Call[Any]", timeout: float | None) -> None:
        """Wait until ``call.ready``. TimeoutError after ``timeout`` seconds."""

    def attend(self, call: "Call[Any]") -> None:
        """See to it that the call ends even if no thread waits for it."""

    async def start_async(self, call: "Call[Any]") -> None:
        """Start a call that a coroutine has made."""


class Carrier(Protocol):
    """What a call needs of the link that has it."""

    place_until: float

    @property
    def lock(self) -> Lock: ...

    def crowded(self, call: "Call[Any]") -> RpcError:
        """Return the error of a call that got no place."""

    def abandon(self, call: "Call[Any]") -> None:
        """Take out a call that has ended without an answer."""

    def credit_stream(self, number: int, items: int, size: int) -> None:
        """The reader of a stream has taken so much."""


class Call(CallCore, Generic[R]):
    """A call that has begun, and its result once it has come. Made by ``stub.method.begin(...)``.

    Any thread may wait for it; ``await`` it in a coroutine.
    """

    __slots__ = ()
    connector: Caller

    def own(self) -> None:
        """Copy what the caller may change before it is sent."""
        if not isinstance(self.body, bytes):
            self.body = owned(self.body)

    # ---- For the caller ----

    @property
    def ready(self) -> bool:
        """Whether a thread that waits for it can go on."""
        return self.finished

    def done(self) -> bool:
        """Whether it has ended: with a result, an error, or cancelled."""
        return self.finished

    def result(self, timeout: float | None = None) -> R:
        """Waits for the result, at most ``timeout`` seconds, and returns it or raises what the call
        ended with. TimeoutError when only the waiting is over; the call goes on."""
        if not self.finished:
            self.connector.wait(self, timeout)
        value, error = self.outcome or self._outcome()
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As ``result``, but returns the error, None if there is none."""
        if not self.finished:
            self.connector.wait(self, timeout)
        return self._outcome()[1]

    def cancel(self) -> bool:
        """Ends the call with Cancelled, here and at the server; False if it had ended."""
        return self.give_up(Cancelled(f"{self.signature.name} was cancelled"))

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.finished and isinstance(self._outcome()[1], Cancelled)

    def add_done_callback(self, callback: "Callable[[Call[R]], object]") -> None:
        """callback(call) runs when the call has ended, on the thread that sees it, or now; what it
        raises is logged. It must not wait for other calls. TypeError for a coroutine function."""
        if inspect.iscoroutinefunction(callback):
            raise TypeError(f"a done callback runs on a thread: def, not async: {callback!r}")
        awaited.add(self)
        with self.connector.endings.lock:
            finished = self.finished
            if not finished:
                self.callbacks = [*(self.callbacks or ()), callback]
        if finished:
            self.connector.endings.run_callback(callback, self)
        else:
            self.connector.attend(self)

    def on_end(self, callback: Callable[[Ending], object]) -> None:
        """callback(ending) runs once, when the call has ended, with the time from now until then:
        for interceptors. Of a stream that is when its last item has come, or its reader has left.
        As ``add_done_callback`` otherwise."""
        check_callback("a callback of on_end()", callback)
        begun = monotonic()

        def tell(call: "Call[R]") -> None:
            error = call._outcome()[1]
            callback(Ending(_how(error), error, call._items, monotonic() - begun))

        self.add_done_callback(tell)

    @property
    def _items(self) -> int:
        return 0

    def __await__(self) -> Generator[Any, None, R]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> R:
        while not self.finished:
            await self._async_ready()
        return self.result()

    async def _async_ready(self) -> None:
        """Until ``ready``; cancelling the task cancels the call."""
        import asyncio  # takes 25 ms; a program that awaits has it already

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self.connector.endings.lock:
            if self.ready:
                return
            self.waiters = [*(self.waiters or ()), (loop, future)]
            awaited.add(self)
        self.connector.attend(self)
        try:
            await future
        except asyncio.CancelledError:
            self.cancel()
            raise

    # ---- For the link ----

    def finish(self, reply: tuple[int, int, Any] | None, error: BaseException | None) -> bool:
        """Ends it with a frame's kind, flags and body, or with an error; False if it had ended."""
        return self.end(reply, None if error is None else (None, error))

    def wake(self) -> None:
        """Let the threads and coroutines that wait look again."""
        if self.event is not None:
            self.event.set()
        if self.waiters is not None:
            with self.connector.endings.lock:
                waiters, self.waiters = self.waiters, None
                if not self.callbacks:
                    awaited.discard(self)
            for waiter in waiters or ():
                self.connector.endings.wake_later(waiter)

    def ends_at(self) -> float:
        """Until when it may wait: to its deadline, or for one of the server's places. inf without
        a limit."""
        link: Carrier | None = self.link
        deadline: float = inf if self.deadline is None else self.deadline
        return deadline if link is None or self.id else min(deadline, link.place_until)

    def expire(self) -> None:
        """What ``ends_at`` says is over."""
        link: Carrier | None = self.link
        if link is None or self.is_late():
            self.give_up(self.late())
        else:
            self.give_up(link.crowded(self))

    def drop(self) -> None:
        """Cancel it for a caller that has gone; for ``__del__``, which runs anywhere."""
        link: Carrier | None = self.link
        for lock in (self.connector.endings.lock, *(() if link is None else (link.lock,))):
            if not lock.acquire(blocking=False):  # Perhaps this very thread holds it.
                with suppress(RuntimeError):  # There can be none: it ends with its link.
                    start_new_thread(self.cancel, ())
                return
            lock.release()
        self.cancel()

    def late(self) -> DeadlineExceeded:
        """The error of a call that did not end in time."""
        return DeadlineExceeded(f"{self.signature.name} did not end in time")

    def give_up(self, error: RpcError) -> bool:
        """Ends it with the error, here and at the server; False if it had ended."""
        if not self.finish(None, error):
            return False
        if self.link is not None:
            self.link.abandon(self)
        self.connector.endings.wake_loops()
        return True

    def _outcome(self) -> tuple[Any, BaseException | None]:
        reply = self.reply  # Before the outcome: another thread may come here, too.
        if self.outcome is None:
            assert reply is not None
            self.outcome = self.decoded(*reply)
            self.reply = None
        return self.outcome

    def decoded(self, kind: int, flags: int, body: Any) -> tuple[Any, BaseException | None]:
        """What a frame with a result or an error brings."""
        if kind == wire.ERROR:
            return None, error_of(body, self.signature)
        codec, values_max = self.signature.result_codec, self.connector.settings.values_max
        try:
            if len(body) > UNWEIGHED_BYTES:
                codec.weigh(flags, body, values_max)
            return codec.decode(flags, body), None
        except wire.Malformed as error:
            return None, WrongResult(f"{self.signature.name}: the result does not fit: {error}")


def lost(call: Call[Any], why: str) -> RpcError:
    """The error of a call whose answer cannot come any more."""
    name = call.signature.name
    if call.sent_at is None:
        return Unavailable(f"{name} did not start: {why}")
    if call.resendable:
        return ConnectionLost(f"{name}: {why}")
    return OutcomeUnknown(f"{name} may have run or not: {why}")


def error_of(body: Any, signature: Signature) -> BaseException:
    """The exception that an ERROR frame's body stands for."""
    try:
        failure = read_failure(body)
    except wire.Malformed as error:
        return WrongResult(f"{signature.name}: the server's error cannot be read: {error}")
    if failure.code:
        return CODES.get(failure.code, RpcError)(failure.message)
    if failure.values is not None:
        try:
            return unpack(failure.values, signature.options.raises, failure.traceback)
        except Exception as error:
            return WrongResult(f"{signature.name}: the server's error cannot be read: {error}")
    return RemoteError(failure.type, failure.message, failure.traceback)


class StreamCall(Call[Any]):
    """The call behind a Stream: the items that have come, and how many more may."""

    def __init__(self, *args: Any) -> None:
        self.items: deque[tuple[int, Any]] = deque()
        self.came = 0
        self.taken_items = 0
        self.taken_bytes = 0
        self.room_items = wire.STREAM_ITEMS
        self.room_bytes = wire.STREAM_BYTES

    @property
    def ready(self) -> bool:
        return bool(self.items) or self.finished

    def add(self, flags: int, body: Any) -> None:
        """Add an item that has come. ConnectionClosed if the server had no credit for it."""
        with self.connector.endings.lock:
            within = self.room_items > 0 and self.room_bytes > 0
            self.room_items -= 1
            self.room_bytes -= len(body)
        if not within:
            raise ConnectionClosed(f"items of stream {self.id} beyond its credit", "local")
        self.items.append((flags, body))
        self.came += 1
        self.wake()

    def take(self) -> tuple[int, Any] | None:
        """The next item, which gives the server credit for another one; None if there is none."""
        with self.connector.endings.lock:
            if not self.items:
                return None
            flags, body = self.items.popleft()
            self.taken_items += 1
            self.taken_bytes += len(body)
            items, size = self.taken_items, self.taken_bytes
            due = items >= wire.STREAM_ITEMS // 4 or size >= wire.STREAM_BYTES // 4
            due = due and not self.finished
            if due:
                self.taken_items = self.taken_bytes = 0
                self.room_items += items
                self.room_bytes += size
        if due:
            assert self.link is not None
            self.link.credit_stream(self.id, items, size)
        return flags, body

    def raise_end(self) -> None:
        """Raises the error that the stream ended with, if there is one."""
        error = self._outcome()[1]
        if error is not None:
            raise error

    def _outcome(self) -> tuple[Any, BaseException | None]:
        reply = self.reply
        if self.outcome is None and reply is not None and reply[0] == wire.END:
            self.outcome = None, None
        return super()._outcome()

    @property
    def _items(self) -> int:
        return self.came


def _how(error: BaseException | None) -> How:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    if isinstance(error, Cancelled):
        return "cancelled"
    return "done" if error is None else "error"


class Stream(Generic[T]):
    """The items of a method that returns an iterator, as they come. ``for`` or ``async for``.

    At most 256 items or 256 KiB are on their way; the method goes on when they are taken. Leaving
    the loop early ends the stream, here and at the server, where the generator is closed; so do
    ``close``, ``aclose`` and leaving ``with`` or ``async with``.
    """

    __slots__ = ("__weakref__", "_begun", "_call", "_looped")

    def __init__(self, call: StreamCall, *, begun: bool) -> None:
        self._call = call
        self._begun = begun
        self._looped = False

    def __iter__(self) -> Self:
        self._looped = True
        return self

    def __next__(self) -> T:
        call = self._call
        if not self._begun:
            raise TypeError("a stream of .aio() is for 'async for'; without .aio it is for 'for'")
        while (item := call.take()) is None:
            if call.finished:
                call.raise_end()
                raise StopIteration
            call.connector.wait(call, None)
        return self._decoded(*item)

    def __aiter__(self) -> Self:
        self._looped = True
        return self

    async def __anext__(self) -> T:
        call = self._call
        if not self._begun:
            self._begun = True
            await call.connector.start_async(call)
        while (item := call.take()) is None:
            if call.finished:
                call.raise_end()
                raise StopAsyncIteration
            await call._async_ready()
        return self._decoded(*item)

    def close(self) -> None:
        """Ends the stream here and at the server; items that were not taken are lost. Idempotent,
        and it waits for nothing."""
        self._call.cancel()
        self._call.items.clear()

    async def aclose(self) -> None:
        """The same, for ``contextlib.aclosing``."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        call = self._call
        if call.finished:
            return
        name, begun = call.signature.name, call.link is not None
        call.drop()
        if begun and not self._looped:
            warnings.warn(
                f"a stream of {name} was dropped before its end: loop over it, or close it",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def _decoded(self, flags: int, body: Any) -> T:
        value, error = self._call.decoded(wire.ITEM, flags, body)
        if error is not None:
            self.close()
            raise error
        return value  # type: ignore[no-any-return]
