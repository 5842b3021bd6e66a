"""Generators that run for a client: as far as its credit goes, and without a thread beyond it."""

import contextvars
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from fastsock.rpc import wire
from fastsock.rpc.context import _current
from fastsock.rpc.errors import Cancelled
from fastsock.rpc.server.answers import Answers, Refusal
from fastsock.rpc.server.session import Running

if TYPE_CHECKING:
    import asyncio

TURN_ITEMS = 64
"""Items of a stream after which its thread looks at other work first."""


class Credit:
    """What the reader of a stream still lets come, in items and bytes."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.items = wire.STREAM_ITEMS
        self.bytes = wire.STREAM_BYTES

    @property
    def spent(self) -> bool:
        """Whether nothing may come."""
        return self.items <= 0 or self.bytes <= 0

    def take(self, size: int) -> None:
        """An item of so many bytes is on its way."""
        with self.lock:
            self.items -= 1
            self.bytes -= size

    def give(self, items: int, size: int) -> None:
        """The reader took so much."""
        with self.lock:
            self.items = min(self.items + items, wire.STREAM_ITEMS)
            self.bytes = min(self.bytes + size, wire.STREAM_BYTES)


class StreamRun:
    """A generator on the threads of a pool. ``make()`` begins it; ``submit(key, work)`` runs work
    on one of the threads."""

    def __init__(
        self,
        call: Running,
        answers: Answers,
        make: Callable[[], Iterable[Any]],
        submit: Callable[[object, Callable[[], object]], object],
    ) -> None:
        self._call = call
        self._answers = answers
        self._make = make
        self._submit = submit
        self._credit = Credit()
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
            self._iterator = iter(self._variables.run(self._make))
        except BaseException as error:
            self._answers.fail(call, error)
            return
        self.step()

    def credit(self, items: int, size: int) -> None:
        """The reader took some, or there is a reason to look again."""
        self._credit.give(items, size)
        with self._credit.lock:
            parked, self._parked = self._parked, False
        if parked:
            self._submit(self, self.step)

    def step(self) -> None:
        """Sends items until credit, turn or items are over."""
        call = self._call
        for _ in range(TURN_ITEMS):
            with self._credit.lock:
                if self._credit.spent and not call.context.cancelled:
                    self._parked = True
                    return
            if not self._send_next():
                return
        self._submit(self, self.step)

    def _send_next(self) -> bool:
        """One item; False at the end, which it sends."""
        call = self._call
        try:
            if call.context.cancelled:
                self._variables.run(_close, self._iterator)
                raise Refusal(Cancelled(f"{call.signature.name} was cancelled"))
            item = self._variables.run(next, self._iterator, self)
            if item is self:
                self._answers.end_stream(call)
                return False
            size = self._answers.item(call, item)
        except BaseException as error:
            self._answers.fail(call, error)
            return False
        self._credit.take(size)
        return True


def _close(iterator: Any) -> None:
    if hasattr(iterator, "close"):
        iterator.close()


def call_in(loop: "asyncio.AbstractEventLoop", callback: Callable[[], object]) -> None:
    """callback runs in the loop, unless that has ended."""
    with suppress(RuntimeError):  # It has, and its tasks with it.
        loop.call_soon_threadsafe(callback)


def _closing(items: Any) -> AbstractAsyncContextManager[Any]:
    """Lets an asynchronous generator clean up when its reader has gone."""
    return aclosing(items) if hasattr(items, "aclose") else nullcontext()


class AsyncStreamRun:
    """An asynchronous generator, which waits on its event loop where the credit ends."""

    def __init__(self, call: Running, answers: Answers, items: Any) -> None:
        import asyncio

        self._call = call
        self._answers = answers
        self._items = items
        self._credit = Credit()
        self._more = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        call.context._stream = self.credit

    def credit(self, items: int, size: int) -> None:
        """The reader took some."""
        self._credit.give(items, size)
        call_in(self._loop, self._more.set)

    async def run(self) -> None:
        """Sends all items and the end."""
        async with _closing(self._items):
            await self._send_all()
        self._answers.end_stream(self._call)

    async def _send_all(self) -> None:
        async for item in self._items:
            self._credit.take(self._answers.item(self._call, item))
            while self._credit.spent:
                self._more.clear()
                if self._credit.spent:
                    await self._more.wait()
