"""From a stub to a server: finds one, keeps a link to it, and moves calls when it is lost.

At most once: a call whose link is lost goes to the next link by itself only if nothing of it
reached the kernel, if its method is idempotent, or if the same run of the server still knows the
session: there a call that has arrived already is joined or answered from what was kept.
"""

import os
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastsock.core.options import check_timeout
from fastsock.errors import FastsockError
from fastsock.rpc import wire
from fastsock.rpc.client._calling import ConnectorCore
from fastsock.rpc.client.calls import Call, Stream, StreamCall, lost
from fastsock.rpc.client.errands import Errands
from fastsock.rpc.client.link import Gone, Link
from fastsock.rpc.client.linking import Linking
from fastsock.rpc.client.recovery import Recovery
from fastsock.rpc.client.route import Route
from fastsock.rpc.client.settings import Settings
from fastsock.rpc.context import METADATA_BYTES_MAX, seconds_left
from fastsock.rpc.errors import (
    CODES,
    ConnectionLost,
    RpcError,
    Unavailable,
    too_large,
)
from fastsock.rpc.signature import Interface, Signature
from fastsock.rpc.values.failures import read_failure

if TYPE_CHECKING:
    from asyncio import Future

MOVES_MAX = 8
"""How often a call that did not start may be sent to another server."""

Interceptor = Callable[[Call[Any]], object]

_connectors: "weakref.WeakSet[Connector]" = weakref.WeakSet()


class Connector(ConnectorCore):
    """The client side of a stub. All threads that use the stub share it."""

    link: Link

    def __init__(self, settings: Settings, interface: Interface, route: Route) -> None:
        self.call_class = Call
        self.interface = interface
        self.linking = Linking(self, route)
        self._recovery = self._new_recovery()
        self._errands = Errands("fastsock.rpc move")
        self.link = self.linking.open(None)
        _connectors.add(self)

    def _new_recovery(self) -> Recovery:
        return Recovery(self.linking, self.endings, self.attend, self.settings.retry)

    def __del__(self) -> None:
        if self.link is None or self.linking.closed:
            return
        if self.linking.drop():
            warnings.warn(
                f"a stub of {self.interface.name} was dropped and not closed: use it in a with"
                " statement, or close it",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    # ---- Calls ----

    def begin_beside(self, call: Call[Any]) -> bool:
        """Begins a call that does not have the link to itself. True if that is all: nobody waits
        for a one-way call."""
        if not call.signature.options.oneway:
            self.link.refuse_leader()
        self._start_new(call)
        self._flush(call)
        if not call.signature.options.oneway or call.finished or not call.id:
            return False
        self.attend(call)
        return True

    def begin(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call[Any]:
        """Call and do not wait."""
        call: Call[Any] = self.make(Call, signature, args, kwargs)
        call.own()
        self._start_attended(call)
        return call

    async def call_async(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call and await the result."""
        call: Call[Any] = self.make(Call, signature, args, kwargs)
        call.own()
        await self.start_async(call)
        return await call

    async def start_async(self, call: Call[Any]) -> None:
        """Start a call that a coroutine has made: on a thread if that takes connecting."""
        import asyncio  # takes 25 ms; a program that awaits has it already

        if not (self.link.dead or self.link.draining):
            self._start_attended(call)
            return
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()

        def start() -> None:
            try:
                self._start_attended(call)
            except (RpcError, OSError):
                pass  # They have ended the call.
            finally:
                with suppress(RuntimeError):  # The loop is closed, so nobody waits there.
                    loop.call_soon_threadsafe(_set_result, started)

        try:
            self._errands.do(start)
            async with asyncio.timeout(seconds_left(call.deadline)):
                await started
        except TimeoutError:
            call.expire()
        except RuntimeError as error:
            raise self._unattended(call, error) from None
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _start_attended(self, call: Call[Any]) -> None:
        """Starts a call that is to end even if no thread waits for it. Unavailable if no thread can
        be started for that."""
        try:
            self.link.attendant.start()
        except RuntimeError as error:
            raise self._unattended(call, error) from None
        try:
            self._start_new(call)
            self._post(call)
            self.attend(call)
        except BaseException:
            call.cancel()  # Where it has not ended, this was interrupted, and nobody has the call.
            raise

    def _unattended(self, call: Call[Any], error: RuntimeError) -> RpcError:
        """End a call for which no thread can be started."""
        failure = lost(call, f"no thread can be started for its answer: {error}")
        call.finish(None, failure)
        return failure

    def stream(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Stream[Any]:
        """Call a method whose result is a stream."""
        call: StreamCall = self.make(StreamCall, signature, args, kwargs)
        stream: Stream[Any] = Stream(call, begun=True)  # Whatever happens now, it ends the call.
        self._start_new(call)
        self._post(call)
        return stream

    def stream_async(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Stream[Any]:
        """A stream that begins when a coroutine asks for its first item."""
        return Stream(self.make(StreamCall, signature, args, kwargs), begun=False)

    def check_size(self, call: Call[Any]) -> None:
        """BodyTooLarge for arguments that the server would refuse."""
        body = call.body
        size = len(body) if isinstance(body, bytes) else sum(map(len, body))
        if size > self.link.hello.body_bytes_max:
            raise too_large(size, self.link.hello.body_bytes_max)

    def _start_new(self, call: Call[Any]) -> None:
        """As ``_start``, for a call that nobody has started before: what is raised ends it."""
        try:
            self._start(call)
        except BaseException as error:
            call.finish(None, error)
            if call.link is not None:  # It was interrupted, and may have a place there.
                call.link.abandon(call)
            raise

    def _start(self, call: Call[Any]) -> None:
        """Hand the call to the current link unless it has already ended."""
        while not call.finished:
            link = self.link
            if link.dead or link.draining:
                link = self.linking.relink(link, call)
            try:
                link.start(call)
            except Gone:
                continue
            if call.attended:
                self.attend(call)
            return

    def _flush(self, call: Call[Any], limit: float = inf) -> None:
        link: Link | None = call.link
        if link is None:  # An interceptor has ended it.
            return
        try:
            link.sender.flush(call, limit)
        except TimeoutError:  # Of a signal handler.
            raise
        except (OSError, FastsockError) as error:
            link.lose(error)

    def _post(self, call: Call[Any]) -> None:
        link: Link | None = call.link
        if link is None:
            return
        if len(link.pending) <= 1:
            link.sender.post()
        else:
            link.attendant.send()

    def wait(self, call: Call[Any], timeout: float | None) -> None:
        """Until call.ready. TimeoutError after timeout seconds; at its deadline the call ends."""
        seconds = check_timeout(timeout)
        limit = inf if seconds is None else monotonic() + seconds
        if call.sent_at is None:
            self._flush(call, limit)
        while not call.ready and not self._ends_inherited(call):
            now, until = monotonic(), call.ends_at()
            if now >= until:
                call.expire()
                return
            if now >= limit:
                raise TimeoutError(f"{call.signature.name} has not ended after {timeout} s")
            until = min(until, limit)
            assert call.link is not None
            call.link.wait(call, None if until == inf else until - now)

    def attend(self, call: Call[Any]) -> None:
        """The call is to end even if no thread waits for it. If no thread can be started for that,
        it ends now."""
        call.attended = True
        link = call.link
        if link is None or self._ends_inherited(call):
            return
        try:
            link.attendant.add(call)
        except RuntimeError as error:
            call.give_up(lost(call, f"no thread can be started for its answer: {error}"))

    # ---- Links ----

    def lost(self, dead: Link, error: Exception, *, move: bool) -> None:
        """Moves the calls of a dead link, or ends them; without ``move`` it ends all of them, and
        waits for nothing."""
        self._recovery.recover(dead, error, move=move)

    def refused(self, call: Call[Any], body: Any) -> bool:
        """Send a call that a server refused to start to another server, if there is one."""
        link = call.link
        assert link is not None
        try:
            refused = CODES.get(read_failure(body).code) is Unavailable
        except wire.Malformed:
            return False
        if not refused or call.moves >= MOVES_MAX or self.linking.route.single:
            return False
        call.moving = True
        try:  # Not here, since it takes connecting and this thread reads for others.
            self._errands.do(lambda: self._start_elsewhere(call, link, body))
        except RuntimeError:
            call.moving = False
            return False
        return True

    def _start_elsewhere(self, call: Call[Any], link: Link, refusal: Any) -> None:
        try:
            if self.linking.has_others(link, call):
                call.moves += 1
                link.draining = True
                self._start(call)
                self._post(call)
            else:
                call.finish((wire.ERROR, 0, refusal), None)
        except (OSError, RpcError):
            call.finish((wire.ERROR, 0, refusal), None)
        call.moving = False
        call.wake()
        self.endings.wake_loops()

    # ---- The end ----

    def disown(self) -> None:
        """In a forked child: leaves the parent its links; the next call makes one of its own."""
        self.endings.renew()
        self._errands = Errands("fastsock.rpc move")
        self._recovery = self._new_recovery()
        self.linking.disown()

    def _ends_inherited(self, call: Call[Any]) -> bool:
        """Whether the call is that of the process that forked this one; then it ends here."""
        if call.link is None or not call.link.disowned:
            return False
        name = call.signature.name
        why = f"{name} was begun by the process that forked this one, and ends there"
        call.finish(None, ConnectionLost(why))
        return True

    def close(self) -> None:
        """Close the link; calls that have not ended end with ConnectionLost. Idempotent."""
        closed = ConnectionLost("the stub is closed")
        for link in self.linking.close():
            self.lost(link, closed, move=False)
        self._recovery.end_all(closed)
        self.endings.wake_loops()


def _disown_all() -> None:
    for connector in list(_connectors):
        connector.disown()


os.register_at_fork(after_in_child=_disown_all)


def _set_result(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)


assert METADATA_BYTES_MAX < wire.CHUNK_BYTES // 2
