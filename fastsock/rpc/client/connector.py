"""From a stub to a server: finds one, keeps a link to it, and moves calls when it is lost.

At most once: a call whose link is lost goes to the next link by itself only if nothing of it
reached the kernel, if its method is idempotent, or if the same run of the server still knows the
session: there a call that has arrived already is joined or answered from what was kept.
"""

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastsock.core.address import Address, show
from fastsock.errors import FastsockError
from fastsock.rpc import wire
from fastsock.rpc.client._calling import ConnectorCore
from fastsock.rpc.client.attempts import Attempts
from fastsock.rpc.client.calls import Call, Stream, StreamCall
from fastsock.rpc.client.link import Gone, Link
from fastsock.rpc.client.route import Route
from fastsock.rpc.context import METADATA_BYTES_MAX, seconds_left
from fastsock.rpc.errors import (
    CODES,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    OutcomeUnknown,
    RpcError,
    Unavailable,
    too_large,
)
from fastsock.rpc.interface import Interface, Signature

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("fastsock.rpc")

PAUSE_FIRST = 0.02
PAUSE_MOST = 0.5
"""Seconds between attempts to connect again."""

LOOK_SECONDS = 0.1
"""How soon a call that was cancelled stops to wait for a connection."""

MOVES_MAX = 8
"""How often a call that did not start may be sent to another server."""

Interceptor = Callable[[Call[Any]], object]

_connectors: "weakref.WeakSet[Connector]" = weakref.WeakSet()


@dataclass(frozen=True)
class Settings:
    """What :func:`fastsock.rpc.connect` was told."""

    timeout: float | None = None
    connect_timeout: float = 5.0
    retry: float = 2.0
    place_timeout: float = 10.0
    keepalive: float = 15.0
    body_bytes_max: int = 1 << 26
    busy_poll_us: int | None = None
    token: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    interceptors: Sequence[Interceptor] = ()


class Connector(ConnectorCore):
    """The client side of a stub. All threads that use the stub share it."""

    def __init__(self, settings: Settings, interface: Interface, route: Route) -> None:
        self.call_class = Call
        self.interface = interface
        self._route = route
        self._linking = threading.RLock()
        self._closed = False
        self._useless_since: float | None = None
        self._pause = PAUSE_FIRST
        self._left: list[Link] = []
        """Links to servers that drain, with calls that have not ended."""
        self.link = self._open(None)
        _connectors.add(self)

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
        """Calls and does not wait."""
        call: Call[Any] = self.make(Call, signature, args, kwargs)
        call.own()
        self._start_new(call)
        self._post(call)
        self.attend(call)
        return call

    async def call_async(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Calls and awaits the result."""
        call: Call[Any] = self.make(Call, signature, args, kwargs)
        call.own()
        await self.start_async(call)
        return await call

    async def start_async(self, call: Call[Any]) -> None:
        """Starts a call that a coroutine has made; where that may take connecting, in a thread."""
        import asyncio  # takes 25 ms; a program that awaits has it already

        if self.link.dead or self.link.draining:
            try:
                await asyncio.to_thread(self._start_new, call)
            except asyncio.CancelledError:
                call.cancel()
                raise
        else:
            self._start_new(call)
        self._post(call)
        self.attend(call)

    def stream(
        self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Stream[Any]:
        """Calls a method whose result is a stream."""
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
            raise

    def _start(self, call: Call[Any]) -> None:
        """Gives the call to the link of the time, unless it has ended meanwhile."""
        while not call.finished:
            link = self.link
            if link.dead or link.draining:
                link = self._relink(link, call)
            try:
                link.start(call)
            except Gone:
                continue
            if call.attended:
                link.attendant.add(call)
            return

    def _flush(self, call: Call[Any], limit: float = inf) -> None:
        link = call.link
        if link is None:  # An interceptor has ended it.
            return
        try:
            link.flush(call, limit)
        except (OSError, FastsockError) as error:
            link.lose(error)

    def _post(self, call: Call[Any]) -> None:
        link = call.link
        if link is None:
            return
        if len(link.pending) <= 1:
            link.post()
        else:
            link.attendant.send()

    def wait(self, call: Call[Any], timeout: float | None) -> None:
        """Until call.ready. TimeoutError after timeout seconds; at its deadline the call ends."""
        limit = inf if timeout is None else monotonic() + timeout
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
        """The call is to end even if no thread waits for it."""
        call.attended = True
        if call.link is not None and not self._ends_inherited(call):
            call.link.attendant.add(call)

    # ---- Event loops ----

    def wake_later(self, waiter: "tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]") -> None:
        """The waiter's loop is told with the next ``wake_loops``."""
        self.woken.append(waiter)

    def wake_loops(self) -> None:
        """Tells each event loop once of all that it waited for."""
        if not self.woken:
            return
        with self.ending:
            woken, self.woken = self.woken, []
        futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for loop, future in woken:
            futures.setdefault(loop, []).append(future)
        for loop, those in futures.items():
            try:
                loop.call_soon_threadsafe(_set_results, those)
            except RuntimeError:
                continue  # The loop is closed, so nobody waits there.

    def run_callback(self, callback: Callable[[Any], object], call: Call[Any]) -> None:
        """Runs a callback of the user's, whose exceptions are logged."""
        try:
            callback(call)
        except BaseException:
            log.exception("a callback of %s failed", call.signature.name)

    # ---- Links ----

    def _open(self, resumes: Link | None, call: Call[Any] | None = None) -> Link:
        """Connects to the first server that takes it; tries for ``retry`` seconds, where there was
        a link before, and no longer than the call that needs it, if there is one, has time."""
        until, pause = monotonic() + self.settings.retry, PAUSE_FIRST
        deadline = inf if call is None or call.deadline is None else call.deadline
        until = min(until, deadline)
        while True:
            failure = self._connect_any(resumes, deadline)
            if isinstance(failure, Link):
                return failure
            given_up = self._closed or (call is not None and call.finished)
            if resumes is None or given_up or monotonic() + pause > until:
                if isinstance(failure, RpcError):
                    raise failure
                why = getattr(failure, "strerror", None) or str(failure or self._route)
                raise Unavailable(why) from failure
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, PAUSE_MOST)

    def _connect_any(self, resumes: Link | None, deadline: float) -> Link | Exception | None:
        """A link to one of the route's addresses; else the last error, None without an address."""

        def connect(address: Address) -> Link:
            left = max(deadline - monotonic(), 0.001)
            same = resumes is not None and resumes.address == address
            timeout = min(self.settings.connect_timeout, left)
            return Link.opened(self, address, timeout, resumes if same else None)

        attempts = Attempts(
            connect, Link.close, self._route.failed, (OSError, ValueError, RpcError)
        )
        link = attempts.first(self._route.addresses())
        if isinstance(link, Link):
            self._route.worked(link.address)
        return link

    def _relink(self, old: Link, call: Call[Any]) -> Link:
        """The link that new calls go to, since the old one is dead or draining."""
        while old.dead and not old.recovered.is_set():
            old.recovered.wait(self._patience(call))
        while not self._linking.acquire(timeout=self._patience(call)):
            pass
        try:
            if self._closed:
                raise ConnectionLost("the stub is closed")
            if self.link is not old:
                return self.link
            if not old.dead:
                if not self._route.has_others(old.address):
                    return old
                self._route.failed(old.address)  # It drains: the others are tried first.
            link = self._open(old if old.dead else None, call)
            self.link = link
            if not old.dead:
                self._left = [*(each for each in self._left if not each.dead), old]
                old.leave()
            return link
        finally:
            self._linking.release()

    def _patience(self, call: Call[Any]) -> float:
        """Seconds to wait for a new link before looking whether the call still wants one."""
        if call.finished:
            raise Cancelled(f"{call.signature.name} has ended before there was a connection")
        left = seconds_left(call.deadline)
        if left == 0:
            raise DeadlineExceeded("there was no connection in time")
        return LOOK_SECONDS if left is None else min(left, LOOK_SECONDS)

    def recover(self, dead: Link, error: Exception, *, move: bool = True) -> None:
        """Moves the calls of a dead link, or ends them; without ``move`` it ends all of them."""
        with self._linking:
            calls = [call for call in dead.take_calls() if not call.finished]
            wanted = [call for call in calls if not self._ends_with(call, dead, error)]
            try:
                if move and wanted and not self._closed and self._may_retry(dead):
                    self._move(wanted, dead, error)
            except (OSError, RpcError) as failure:
                error = failure
            finally:
                for call in wanted:
                    if call.link is dead:
                        call.finish(None, self._lost(call, str(error)))
                dead.wake_all()
        self.wake_loops()

    def _may_retry(self, dead: Link) -> bool:
        """False after ``retry`` seconds of links on which no call was answered."""
        if dead.useful or self._useless_since is None:
            self._useless_since = None if dead.useful else monotonic()
            self._pause = PAUSE_FIRST
            return True
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, PAUSE_MOST)
        return monotonic() - self._useless_since <= self.settings.retry

    def _move(self, wanted: list[Call[Any]], dead: Link, error: Exception) -> None:
        link = self._open(dead) if self.link is dead else self.link
        same = link.hello.resumed and link.session == dead.session
        same = same and link.hello.incarnation == dead.hello.incarnation
        # Numbers only grow: those that keep theirs go first.
        adopted = [call for call in wanted if call.sent_at is not None and not call.resendable]
        for call in sorted(adopted, key=lambda call: call.id) if same else ():
            link.adopt(call)
        for call in wanted:
            if call.link is dead and (call.sent_at is None or call.resendable):
                link.start(call, even_dead=True)
            if call.attended and call.link is link:
                link.attendant.add(call)
        self.link = link
        link.attendant.send()

    def _ends_with(self, call: Call[Any], dead: Link, error: Exception) -> bool:
        """A stream of which something may have come cannot go on elsewhere."""
        if isinstance(call, StreamCall) and call.sent_at is not None:
            call.finish(None, ConnectionLost(f"{show(dead.address)}: {error}"))
            return True
        return False

    def _lost(self, call: Call[Any], why: str) -> RpcError:
        name = call.signature.name
        if call.sent_at is None:
            return Unavailable(f"{name} did not start: {why}")
        if call.resendable:
            return ConnectionLost(f"{name}: {why}")
        return OutcomeUnknown(f"{name} may have run or not: {why}")

    def moves(self, call: Call[Any], body: Any) -> bool:
        """Sends a call that a server refused to start to another server, if there is one."""
        link = call.link
        assert link is not None
        try:
            refused = CODES.get(wire.read_failure(body).code) is Unavailable
        except wire.Malformed:
            return False
        if not refused or call.moves >= MOVES_MAX or not self._route.has_others(link.address):
            return False
        call.moves += 1
        call.moving = True
        link.draining = True
        # On a thread of its own, since connecting takes time and this one reads for others.
        threading.Thread(
            target=self._start_elsewhere, args=(call, body), name="fastsock.rpc move", daemon=True
        ).start()
        return True

    def _start_elsewhere(self, call: Call[Any], refusal: Any) -> None:
        try:
            self._start(call)
            self._post(call)
        except (OSError, RpcError):
            call.finish((wire.ERROR, 0, refusal), None)
        call.moving = False
        call.wake()
        self.wake_loops()

    # ---- The end ----

    def disown(self) -> None:
        """In a forked child: leaves the parent its links; the next call makes one of its own."""
        self._renew()
        self._linking = threading.RLock()
        for link in self.link, *self._left:
            link.disown()
        self._left = []

    def _ends_inherited(self, call: Call[Any]) -> bool:
        """Whether the call is that of the process that forked this one; then it ends here."""
        if call.link is None or not call.link.disowned:
            return False
        name = call.signature.name
        why = f"{name} was begun by the process that forked this one, and ends there"
        call.finish(None, ConnectionLost(why))
        return True

    def close(self) -> None:
        """Closes the link; calls that have not ended end with ConnectionLost. Idempotent."""
        self._closed = True
        with self._linking:
            for link in self.link, *self._left:
                if not link.dead:
                    link.close()
                    self.recover(link, ConnectionLost("the stub is closed"))


def _disown_all() -> None:
    for connector in list(_connectors):
        connector.disown()


os.register_at_fork(after_in_child=_disown_all)


def _set_results(futures: "list[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


assert METADATA_BYTES_MAX < wire.CHUNK_BYTES // 2
