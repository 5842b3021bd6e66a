"""Calls as their caller sees them: bound methods, results that come later, and streams."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar

from fastsock.rpc import wire
from fastsock.rpc._calling import BoundCore, CallableCore, CallCore
from fastsock.rpc.errors import (
    CODES,
    BodyTooLarge,
    Cancelled,
    DeadlineExceeded,
    RemoteError,
    RpcError,
    WrongResult,
)
from fastsock.rpc.marshal import owned

if TYPE_CHECKING:
    from fastsock.rpc.connector import Connector
    from fastsock.rpc.interface import Signature

__all__ = ["BoundMethod", "BoundStream", "Call", "Stream"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def seconds_left(deadline: float | None) -> float | None:
    """Until deadline, at least 0; None without one."""
    return None if deadline is None else max(0.0, deadline - monotonic())


class Call(CallCore, Generic[R]):
    """A call that has begun, and its result once it has come. Made by ``stub.method.begin(...)``.

    Any thread may wait for it; ``await`` it in a coroutine.
    """

    __slots__ = ()

    def own(self) -> None:
        """Copies what the caller may change before it is sent."""
        if not isinstance(self.body, bytes):
            self.body = owned(self.body)

    # ---- For the caller ----

    @property
    def ready(self) -> bool:
        """Whether who waits can go on."""
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
        return self._abandon(Cancelled(f"{self.signature.name} was cancelled"))

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.finished and isinstance(self._outcome()[1], Cancelled)

    def add_done_callback(self, callback: "Callable[[Call[R]], object]") -> None:
        """callback(call) runs when the call has ended, on the thread that sees it, or now. It must
        not wait for other calls."""
        with self.connector.ending:
            finished = self.finished
            if not finished:
                self.callbacks = [*(self.callbacks or ()), callback]
        if finished:
            callback(self)
        else:
            self.connector.attend(self)

    def __await__(self) -> Generator[Any, None, R]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> R:
        while not self.finished:
            await self._async_ready()
        return self.result()

    async def _async_ready(self) -> None:
        """Until ``ready``; cancelling the task cancels the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self.connector.ending:
            if self.ready:
                return
            self.waiters = [*(self.waiters or ()), (loop, future)]
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
        """Lets those who wait look again."""
        if self.event is not None:
            self.event.set()
        if self.waiters is not None:
            with self.connector.ending:
                waiters, self.waiters = self.waiters, None
            for waiter in waiters or ():
                self.connector.wake_later(waiter)

    def expire(self) -> None:
        """Its deadline is over."""
        self._abandon(self.late())

    def late(self) -> DeadlineExceeded:
        """The error of a call that did not end in time."""
        return DeadlineExceeded(f"{self.signature.name} did not end in time")

    def _abandon(self, error: RpcError) -> bool:
        if not self.finish(None, error):
            return False
        if self.link is not None:
            self.link.abandon(self)
        self.connector.wake_loops()
        return True

    def _outcome(self) -> tuple[Any, BaseException | None]:
        if self.outcome is None:
            assert self.reply is not None
            self.outcome = self.decoded(*self.reply)
            self.reply = None
        return self.outcome

    def decoded(self, kind: int, flags: int, body: Any) -> tuple[Any, BaseException | None]:
        """What a frame with a result or an error brings."""
        if kind == wire.ERROR:
            return None, error_of(body, self.signature)
        try:
            return self.signature.result_codec.decode(flags, body), None
        except wire.Malformed as error:
            return None, WrongResult(f"{self.signature.name}: the result does not fit: {error}")


def error_of(body: Any, signature: "Signature") -> BaseException:
    """The exception that an ERROR frame's body stands for."""
    try:
        failure = wire.read_failure(body)
    except wire.Malformed as error:
        return WrongResult(f"{signature.name}: the server's error cannot be read: {error}")
    if failure.code:
        return CODES.get(failure.code, RpcError)(failure.message)
    if failure.values is not None:
        for declared in signature.options.raises:
            if declared.__name__ == failure.type:
                try:
                    return declared(*failure.values)
                except Exception:
                    break
    return RemoteError(failure.type, failure.message, failure.traceback)


class Stream(Call[Any], Generic[T]):
    """The items of a method that returns an iterator, as they come. ``for`` or ``async for``.

    At most 256 items or 256 KiB are on their way; the method goes on when they are taken. ``close``
    (or leaving ``with``) ends it early.
    """

    begun = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.items: deque[tuple[int, Any]] = deque()
        self.taken_items = 0
        self.taken_bytes = 0

    @property
    def ready(self) -> bool:
        return bool(self.items) or self.finished

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        if not self.items and not self.finished:
            self.connector.wait(self, None)
        if self.items:
            return self._take()
        self._raise_end()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self.begun:
            self.begun = True
            await self.connector.start_async(self)
        while not self.ready:
            await self._async_ready()
        if self.items:
            return self._take()
        self._raise_end()
        raise StopAsyncIteration

    def close(self) -> None:
        """Ends the stream here and at the server; items that were not taken are lost."""
        self.cancel()
        self.items.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> T:
        flags, body = self.items.popleft()
        self.taken_items += 1
        self.taken_bytes += len(body)
        if not self.finished and (
            self.taken_items >= wire.STREAM_ITEMS // 4 or self.taken_bytes >= wire.STREAM_BYTES // 4
        ):
            assert self.link is not None
            self.link.credit_stream(self.id, self.taken_items, self.taken_bytes)
            self.taken_items = self.taken_bytes = 0
        value, error = self.decoded(wire.ITEM, flags, body)
        if error is not None:
            self.close()
            raise error
        return value  # type: ignore[no-any-return]

    def _raise_end(self) -> None:
        if self.reply is not None and self.reply[0] == wire.END:
            return
        error = self._outcome()[1]
        if error is not None:
            raise error


class BoundMethod(CallableCore, Generic[P, R]):
    """A method of a stub: call it, ``begin`` it, or await its ``aio``."""

    def __init__(self, connector: "Connector", signature: "Signature") -> None:
        super().__init__(connector, signature)
        self.__name__ = signature.name
        self.__doc__ = signature.doc

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def begin(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Calls it without waiting; the answers of several calls come in any order."""
        return self._connector.begin(self._signature, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls it from a coroutine: ``await stub.method.aio(...)``. It begins when it is awaited;
        cancelling the task cancels it at the server."""
        return self._connector.call_async(self._signature, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._signature.text}>"


class BoundStream(BoundCore, Generic[P, T]):
    """A streaming method of a stub."""

    def __init__(self, connector: "Connector", signature: "Signature") -> None:
        super().__init__(connector, signature)
        self.__name__ = signature.name
        self.__doc__ = signature.doc

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Calls it; the :class:`Stream` that it returns is an iterator of the items."""
        return self._connector.stream(self._signature, args, kwargs)

    def begin(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """The same, typed as the stream that it is."""
        return self._connector.stream(self._signature, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """The same, for ``async for``; it begins with the first item that is asked for."""
        return self._connector.stream_async(self._signature, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._signature.text}>"


def too_large(size: int, limit: int) -> BodyTooLarge:
    """The error of a body of size bytes."""
    return BodyTooLarge(f"a body of {size} bytes; body_bytes_max is {limit}")
