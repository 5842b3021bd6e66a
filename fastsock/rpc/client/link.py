"""A client's connection to one server: calls go out, answers come in any order.

Nobody reads but those who wait: the first of them leads, that is, it reads for all, and hands the
lead on when it has what it waited for. So a synchronous call wakes no other thread. Calls that
nobody waits for (begun, awaited, with callbacks) have an attendant, with threads of its own.

Locks, in the order in which they may be taken: Sender.lock, lock, Endings.lock.
"""

import logging
import secrets
import threading
from _thread import get_ident
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Protocol

from fastsock.client import Client
from fastsock.core.address import Address, show
from fastsock.core.flag import Flag
from fastsock.errors import ConnectionClosed, FastsockError
from fastsock.rpc import wire
from fastsock.rpc.client._calling import Endings, LinkCore
from fastsock.rpc.client.attendant import Attendant
from fastsock.rpc.client.calls import Call, StreamCall
from fastsock.rpc.client.greeting import greet, numbers_of
from fastsock.rpc.client.sender import Sender
from fastsock.rpc.client.settings import Settings
from fastsock.rpc.errors import Overloaded, too_large
from fastsock.rpc.signature import Interface
from fastsock.rpc.wire._body import Body

CLOSE_SECONDS = 1.0
"""How long closing waits for a server that takes nothing."""

PLACE_PAUSE = 0.005
"""How often closing looks whether a one-way call has got a place."""

log = logging.getLogger("fastsock.rpc")

LAST = frozenset((wire.REPLY, wire.ERROR, wire.END))
"""The kinds of frames that end a call."""


class Gone(Exception):
    """The link is dead; the call is to be started on another one."""


class Owner(Protocol):
    """What a link needs of the stub that it is for."""

    @property
    def settings(self) -> Settings: ...
    @property
    def endings(self) -> Endings: ...
    @property
    def interface(self) -> Interface: ...

    def lost(self, link: "Link", error: Exception, *, move: bool) -> None:
        """Move the calls of a link that has ended, or end them. Without ``move``: end them all."""

    def refused(self, call: Call[Any], body: Any) -> bool:
        """Take over a call that the server has ended with that error. False if it is to end."""


class Wire(Client):
    """The client of a link. If the collector ends a dropped stub, in whatever order, its server is
    told; the warning is the stub's."""

    def __del__(self) -> None:
        if Client._held(self):
            with suppress(FastsockError, OSError):
                Client.send(self, wire.frame(wire.BYE), timeout=0)
            Client._drop(self)


class Link(LinkCore):
    """One connection, from its hello to its end. ``resumes`` is the dead link whose session it
    goes on with, if the server still knows it."""

    owner: Owner
    sender: Sender
    attendant: Attendant

    @classmethod
    def opened(
        cls,
        owner: Owner,
        address: Address,
        connect_timeout: float,
        resumes: "Link | None" = None,
    ) -> "Link":
        """Connect and greet, within so many seconds. OSError or RpcError says why it cannot."""
        until = monotonic() + connect_timeout
        client = Wire.connect(
            address,
            framing="length",
            timeout=connect_timeout,
            message_bytes_max=wire.FRAME_BYTES_MAX,
            outbox_bytes_max=1 << 30,
            busy_poll_us=owner.settings.busy_poll_us,
        )
        return cls(owner, Sender(client), address, until, resumes)

    def __init__(
        self,
        owner: Owner,
        sender: Sender,
        address: Address,
        until: float,
        resumes: "Link | None",
    ) -> None:
        sender.lose = self.lose
        self._attend()
        self.settings = owner.settings
        self.address = address
        self.session: bytes = resumes.session if resumes else secrets.token_bytes(16)
        self.next_id = resumes.next_id if resumes else 1
        self.draining = False
        self._stands = Flag()
        """Never set: what closing sleeps on."""
        self.place_until = inf
        """When the calls that wait for a place give up, unless one becomes free before."""
        self.disowned = False
        """Whether it is that of the process that forked this one."""
        self.last_begun = 1 << 64
        """Calls above that do not begin: the server drains."""
        self.recovered = Flag()
        """Set when the calls of the dead link have gone elsewhere, or ended."""
        self.recoverer = 0
        """The thread that sees to that."""
        self._unrecovered: Exception | None = None
        """Why the link is dead, while no thread could be started to recover it."""
        try:
            self.hello = self._greet(until, resume=resumes is not None)
            self.numbers = numbers_of(self.hello, owner.interface, address)
        except BaseException:
            self.client._close(0.0)
            raise
        if not self.hello.resumed:
            self.next_id = 1

    def _greet(self, until: float, *, resume: bool) -> wire.ServerHello:
        interface = self.owner.interface
        hello = wire.ClientHello(
            wire.PROTOCOL,
            interface.name,
            interface.version,
            self.session,
            resume,
            wire.NO_PROOF,
            dict(self.settings.metadata),
        )
        left = max(until - monotonic(), 0.0)
        return greet(self.client, hello, self.address, self.settings.token, left)

    def _attend(self) -> None:
        self.attendant = Attendant(self)
        self.sender.send_later = self.attendant.send

    # ---- Calls ----

    def start(self, call: Call[Any], *, even_dead: bool = False) -> None:
        """Takes a new call, which then waits for its turn to go out. Gone if the link is dead;
        with ``even_dead`` it takes the call, which its recovery then finds."""
        with self.lock:
            if self.dead and not even_dead:
                raise Gone
            call.link = self
            if self.full():
                if not self.unstarted:
                    self.place_until = monotonic() + self.settings.place_timeout
                call.id = 0
                self.unstarted.append(call)
            else:
                self._enqueue(call, self._new_id())
            if call.finished:  # What ended it may have looked for it on another link.
                self._forget(call)

    def full(self) -> bool:
        """Whether the server has no place for another call."""
        return len(self.pending) + len(self.abandoned) >= self.hello.calls_max

    def crowded(self, call: Call[Any]) -> Overloaded:
        """The error of a call that got no place."""
        return Overloaded(
            f"{call.signature.name} did not start: calls_max = {self.hello.calls_max} calls of this"
            f" stub run already, and none has ended for {self.settings.place_timeout} s;"
            " streams that are open count, too"
        )

    def adopt(self, call: Call[Any]) -> None:
        """Sends again, under its number, a call of the session that this link goes on with: its
        header alone if the server has the rest."""
        with self.lock:
            call.link = self
            if call.id > self.hello.highest or call.id in self.hello.incomplete:
                self._enqueue(call, call.id)
            else:
                call.assembly = None
                call.sent_at = -1  # Before all bytes of this link: this holds if it is lost, too.
                self.pending[call.id] = call
                self.sender.put(wire.frame(wire.CALL, call.id))
            if call.finished:  # What ended it may have looked for it on the dead link.
                self._forget(call)

    def _new_id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def _enqueue(self, call: Call[Any], number: int) -> None:
        call.id = number
        call.sent_at = None
        call.assembly = None
        self.pending[number] = call
        self.sender.enqueue(call, self.numbers[call.signature.name])

    def abandon(self, call: Call[Any]) -> None:
        """Take out a call that nothing waits for any more: the server need not run it."""
        with self.lock:
            self._forget(call)
            if self.leader:  # Perhaps for this call: what comes back lets it look.
                self.sender.put(wire.frame(wire.PING))
        self.start_next()
        self.sender.post()
        if self.left:
            self.end_if_left()

    def _forget(self, call: Call[Any]) -> None:
        """Take out a call that has ended without an answer. If the server has it, it is told, and
        the call's place is free when it answers: so long the method may run. The lock is held."""
        self.attended.pop(call, None)
        if self.pending.pop(call.id, None) is None:
            if not call.id and call in self.unstarted:
                self.unstarted.remove(call)
        elif call.sent_at is not None:
            self.abandoned.add(call.id)
            self.sender.put(wire.frame(wire.CANCEL, call.id))

    def credit_stream(self, number: int, items: int, size: int) -> None:
        """The reader of a stream has taken so much."""
        self.sender.credit_stream(number, items, size)

    # ---- Waiting ----

    def wait(self, waiter: Any, timeout: float | None) -> None:
        """Wait until waiter.ready, the link dies or the timeout expires. May return early."""
        leads = False
        try:
            with self.lock:
                leads = not self.leader and not self.dead and not waiter.moving
                if leads:
                    self.leader = get_ident()
                elif not self.dead:
                    self.refuse_leader()
                    event = waiter.event = waiter.event or Flag()
                    event.clear()
                    self.followers[waiter] = None
            if leads:
                self._lead(waiter, timeout)
                return
        except BaseException:  # A signal handler's, say, in the middle of all that.
            if leads and self.leader == get_ident():
                self.end_wait(waiter, True)
            raise
        if self.dead:
            self.await_recovery(timeout)
            return
        try:
            if not waiter.ready and (waiter.moving or waiter.link is self):
                event.wait(timeout)
        finally:
            self.end_wait(waiter, False)

    def refuse_leader(self) -> None:
        """RuntimeError in the thread that reads for all: it cannot wait for what it is to read."""
        if self.leader == get_ident():
            raise RuntimeError(
                "this thread is in the middle of reading answers for this stub: a done callback, a"
                " signal handler or __del__ can begin() calls, but not wait for them"
            )

    def _lead(self, waiter: Any, timeout: float | None) -> None:
        lost: Exception | None = None
        try:
            self._read_until(waiter, None if timeout is None else monotonic() + timeout)
        except TimeoutError:  # Of a signal handler.
            raise
        except (FastsockError, OSError) as error:
            lost = error
        finally:
            self.end_wait(waiter, True)
        if lost is not None:
            self.lose(lost)

    def _read_until(self, waiter: Any, limit: float | None) -> None:
        keepalive = self.settings.keepalive
        while not waiter.ready and not waiter.moving:
            timeout = keepalive
            if limit is not None:
                timeout = min(keepalive, limit - monotonic())
                if timeout <= 0:
                    return
            self.receive_and_take(timeout)

    def check_silence(self, timeout: float) -> None:
        """Nothing has come for timeout seconds: asks the server whether it lives; ConnectionClosed
        if that did not help."""
        now, keepalive = monotonic(), self.settings.keepalive
        if self.silent_since is None:
            self.silent_since = now - timeout
        since = self.silent_since
        if self.pinged_at is not None:
            if now - self.pinged_at >= keepalive:
                raise ConnectionClosed(f"silent for {now - since:.3g} s", "local")
        elif now - since >= keepalive:
            self.pinged_at = now
            self.sender.put(wire.frame(wire.PING))
            self.sender.post()

    # ---- Frames ----

    def heard(self, frames: list[bytes]) -> None:
        """The attendant has read these frames, or none for ``keepalive`` seconds."""
        if not frames:
            self.check_silence(self.settings.keepalive)
        else:
            self.silent_since = self.pinged_at = None
            self.take(frames)

    def handle(self, frame: bytes) -> None:
        if len(frame) < wire.HEADER_BYTES:
            raise ConnectionClosed(f"a frame of {len(frame)} bytes has no header", "local")
        kind, flags, _, _, number, _ = wire.HEADER.unpack_from(frame)
        if kind > wire.CHUNK or kind < wire.REPLY:
            if kind == wire.DRAIN:
                self.last_begun = min(number, self.last_begun)
                self.draining = True
            elif kind != wire.PONG:
                raise ConnectionClosed(f"a frame of unknown kind {kind}", "local")
            return
        self.credit(len(frame))
        call = self.pending.get(number)
        if call is None:
            if self.abandoned and kind in LAST:
                self.abandoned.discard(number)
                self.start_next()
            return
        if kind == wire.CHUNK or flags & wire.MORE:
            body = self._assemble(call, kind, flags, frame)
            if body is None:
                return
            kind, flags = call.reply[:2] if call.reply else (kind, flags)
            call.reply = None
        else:
            body = memoryview(frame)[wire.HEADER_BYTES :]
        if kind == wire.ITEM:
            if call.is_late():
                call.expire()
            elif isinstance(call, StreamCall):
                call.add(flags, body)
            return
        self._finish(call, kind, flags, body)

    def _finish(self, call: Call[Any], kind: int, flags: int, body: Any) -> None:
        self.useful = True
        self.pending.pop(call.id, None)
        if not call.resendable:
            self.acknowledge(call.id)
        if call.is_late():
            call.finish(None, call.late())
        elif kind != wire.ERROR or not self.owner.refused(call, body):
            call.finish((kind, flags, body), None)
        self.attended.pop(call, None)
        if self.unstarted:
            self.start_next()
        if self.left:
            self.end_if_left()

    def start_next(self) -> None:
        """Send calls that were held back, now that one has ended."""
        with self.lock:
            while self.unstarted and not self.full() and not self.dead:
                self.place_until = monotonic() + self.settings.place_timeout
                call = self.unstarted.popleft()
                if not call.finished:
                    self._enqueue(call, self._new_id())

    def _assemble(self, call: Call[Any], kind: int, flags: int, frame: bytes) -> Any:
        """Add to a body in pieces; return it when it is whole."""
        at = wire.HEADER_BYTES
        if kind != wire.CHUNK:
            if len(frame) < at + wire.TOTAL.size:
                raise ConnectionClosed(f"the answer of call {call.id} has no length", "local")
            (total,) = wire.TOTAL.unpack_from(frame, at)
            at += wire.TOTAL.size
            limit = self.settings.body_bytes_max
            if total > limit:
                call.give_up(too_large(total, limit))
                return None
            call.assembly = Body(total)
            call.reply = kind, flags & ~wire.MORE, None
        if call.assembly is None:
            raise ConnectionClosed(f"a chunk of call {call.id}, whose body is whole", "local")
        missing = call.assembly.add(frame, at)
        if missing > 0:
            return None
        if missing < 0:
            raise ConnectionClosed(f"the body of call {call.id} is too long", "local")
        body, call.assembly = memoryview(call.assembly), None
        return body

    # ---- The end ----

    def leave(self) -> None:
        """Its server drains: it ends as soon as its calls have ended."""
        self.left = True
        self.end_if_left()

    def end_if_left(self) -> None:
        if self.left and not self.pending and not self.unstarted:
            self.lose(ConnectionClosed("its server drains", "local"))

    def lose(self, error: Exception) -> None:
        """The connection has ended; its calls go to another one where that is right."""
        with self.lock:
            if self.dead:
                return
            self.sender.dead = True
        # On a thread of its own: the caller may have a deadline, or be an event loop.
        recovery = threading.Thread(
            target=self._recover, args=(error,), name="fastsock.rpc recovery", daemon=True
        )
        try:
            recovery.start()
        except RuntimeError:
            self._unrecovered = error
            self._wake_followers()
            self.attendant.look()
            if not any(lock.mine for lock in (self.sender.lock, self.lock, self.endings.lock)):
                self.recover_alone()

    def _recover(self, error: Exception, *, move: bool = True) -> None:
        self.recoverer = get_ident()
        self.owner.lost(self, error, move=move)

    def recover_alone(self) -> None:
        """Where no thread could be started: its calls end, and the next one connects."""
        with self.lock:
            error, self._unrecovered = self._unrecovered, None
        if error is not None:
            self._recover(error, move=False)

    def await_recovery(self, timeout: float | None) -> None:
        """Until the calls of the dead link have gone elsewhere, or ended, or the timeout is over.
        RuntimeError in the thread that sees to that."""
        if self._unrecovered is not None:
            self.recover_alone()
        if not self.recovered.is_set() and self.recoverer == get_ident():
            raise RuntimeError(
                "this thread is in the middle of connecting for this stub: a signal handler or"
                " __del__ cannot wait for its calls now"
            )
        self.recovered.wait(timeout)

    def take_calls(self) -> list[Call[Any]]:
        """Closes the connection, and gives away the calls that have not ended. A call of which the
        kernel got nothing, or that a draining server does not begin, has no ``sent_at``."""
        self.client._close(0.0)
        with self.sender.lock, self.lock:
            calls = list(self.unstarted)
            while self.pending:  # One by one: an answer that is just being read takes its call.
                calls.append(self.pending.popitem()[1])
            self.unstarted.clear()
            self.sender.outgoing.clear()  # Sent now, they would mark calls that have moved.
            self.sender.transfers.clear()
            for call in calls:
                if call.sent_at is not None and (
                    call.sent_at >= self.client.bytes_sent or call.id > self.last_begun
                ):
                    call.sent_at = None
        return calls

    def disown(self) -> None:
        """In a forked child: the connection and its session are the parent's, and its threads are
        not here. A call that comes now makes a link of its own."""
        self.client._disown()
        self._renew(None)
        self._attend()
        self.sender.dead = self.disowned = True
        self.session = secrets.token_bytes(16)
        self.next_id = 1
        self.recovered = Flag()
        self.recovered.set()

    def wake_all(self) -> None:
        """Lets all who wait look where their calls are now, and the link's threads end."""
        self.recovered.set()
        self._wake_followers()
        self.attendant.end()

    def _wake_followers(self) -> None:
        for waiter in list(self.followers):
            waiter.event.set()

    def _oneway_waits(self) -> bool:
        """Whether a one-way call that was accepted is not with the kernel yet."""
        with self.lock:
            unsent = [call for call in self.pending.values() if call.sent_at is None]
            waiting = [*unsent, *self.unstarted, *(call for _, call in self.sender.transfers)]
            sent = any(call.signature.options.oneway for call in self.pending.values())
        if sent and self.sender.unsent():
            return True
        return any(each.signature.options.oneway and not each.finished for each in waiting)

    def _send_oneway(self) -> None:
        """Sends the one-way calls that were accepted: within ``timeout``, or without one as long as
        the server takes some of them within each ``connect_timeout``."""
        settings, before = self.settings, (-1, -1)
        limit = monotonic() + (settings.timeout or settings.connect_timeout)
        while not self.dead and self._oneway_waits():
            now, reached = monotonic(), (self.client.bytes_sent, len(self.unstarted))
            if settings.timeout is None and reached != before:
                limit, before = now + settings.connect_timeout, reached
            if now >= limit:
                log.warning("one-way calls to %s were not sent in time", show(self.address))
                return
            try:
                more = self.sender.send_turn(limit)
            except TimeoutError:  # Of a signal handler.
                raise
            except (FastsockError, OSError):
                return
            if not more and self.unstarted:  # The attendant reads, and so makes places free.
                self._stands.wait(PLACE_PAUSE)

    def close(self) -> None:
        """Sends the one-way calls that were accepted, says goodbye and closes. Calls that have not
        ended are the connector's to end."""
        self._send_oneway()
        with self.lock:
            self.sender.dead = True
        if self.sender.lock.acquire(timeout=CLOSE_SECONDS):
            with suppress(FastsockError, OSError):
                self.client.send(wire.frame(wire.BYE), timeout=CLOSE_SECONDS)
            self.sender.lock.release()
        self.client.close()
