"""Serving: greets clients, keeps their sessions, and hands their calls to the skeleton."""

import logging
import os
import secrets
import socket
import struct
import threading
from collections import ChainMap, OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from resource import RLIMIT_NOFILE, getrlimit
from time import monotonic
from types import MappingProxyType, TracebackType
from typing import Any, Self

from fastsock import address as addresses
from fastsock._connection import Connection
from fastsock.address import Address, Sockaddr
from fastsock.errors import ConnectionClosed
from fastsock.options import check_count, check_period
from fastsock.rpc import wire
from fastsock.rpc._inline import InlineCalls, Tally, deadline_of
from fastsock.rpc.budget import Budget
from fastsock.rpc.builtin import BUILTINS, Builtins
from fastsock.rpc.context import METADATA_BYTES_MAX, Context, _current, metadata_size
from fastsock.rpc.errors import (
    BadRequest,
    Cancelled,
    Forbidden,
    OutcomeUnknown,
    Overloaded,
    RpcError,
    Unavailable,
    UnknownMethod,
    VersionMismatch,
    too_large,
)
from fastsock.rpc.failures import failure_of
from fastsock.rpc.handshake import Challenged, tcp_name
from fastsock.rpc.interface import Interface
from fastsock.rpc.keeper import Keeper
from fastsock.rpc.matchmaker import Matchmaker
from fastsock.rpc.places import announced, names_of
from fastsock.rpc.registrar import Registrar
from fastsock.rpc.registry import Instance, incarnation_of
from fastsock.rpc.session import Assembly, Running, Session
from fastsock.rpc.skeleton import Interceptor, Methods, Skeleton
from fastsock.server import MultiServer

__all__ = ["Server", "serve"]

log = logging.getLogger("fastsock.rpc")

HELLO_BYTES_MAX = 1 << 14
"""The longest frame of a client that has not been greeted."""

TURN_MESSAGES_MAX = 64
"""Frames of one client after which it is the others' turn."""

CROWDED = 10
"""The time for a hello is so many times shorter while silent connections take half of what is
left."""

KEPT_MAX = 1024
"""Answers that are kept for one client: no ACK needs to name more."""

TEXT_MAX = 200
"""Characters of a signature that a hello shows."""

OUTBOX_BYTES_MAX = 1 << 23
LOG_BYTES = 1 << 21

_CHALLENGE = bytes([wire.CHALLENGE])


def serve(
    service: object,
    address: Address | Sequence[Address] = ("127.0.0.1", 0),
    *,
    interface: type | None = None,
    matchmaker: Address | None = None,
    advertise: Address | Sequence[Address] | None = None,
    token: str = "",
    threads_max: int = 16,
    calls_max: int = 1024,
    body_bytes_max: int = 1 << 26,
    connections_max: int = 10_000,
    session_seconds: float = 30.0,
    sessions_max: int = 1000,
    greeting_seconds: float = 10.0,
    held_bytes_max: int | None = None,
    metadata_bytes_max: int = METADATA_BYTES_MAX,
    tracebacks: bool = False,
    interceptors: Sequence[Interceptor] = (),
    idle_timeout: float | None = None,
    linger: float = 1.0,
    busy_poll_us: int = 0,
) -> "Server":
    """Serves the marked methods of an object; returns the running :class:`Server`.

    ``address`` is ``(host, port)``, port 0 for any free one, or a path for a UNIX socket; or a list
    of those. ``interface`` is the class whose marked methods count, by default the service's own.

    matchmaker       address of a matchmaker that tells clients of this server while it lives and
                     does not drain; if it does not answer, it is asked until it does
    advertise        the address, or list of addresses, at which clients find the server: by default
                     ``address``, where 0.0.0.0 and :: become this machine's towards the matchmaker.
                     With a token, clients that come by another address than that of the
                     connection, as through NAT, need it even without a matchmaker
    token            clients must prove that they know it, and this server proves it to them first;
                     the matchmaker has the same one. It never crosses the wire, but a short one can
                     be guessed from what does: take ``secrets.token_urlsafe(32)``
    threads_max      threads of the pool that runs methods
    calls_max        calls of one client that run at a time; more are refused
    body_bytes_max   the longest arguments or result
    connections_max  clients at a time
    session_seconds  for so long a client that lost its connection can come back to its calls
    sessions_max     clients that may be away at a time; the longest away are forgotten
    greeting_seconds for so long a connection may be without a hello; a tenth of that while such
                     connections take half of the places that are left
    held_bytes_max   what unfinished arguments, calls that wait or run, and answers kept for clients
                     take, for all clients together, of which each may have as much as is left;
                     None: four times body_bytes_max. Calls beyond it are refused with Overloaded,
                     the oldest answers are not kept any more
    metadata_bytes_max  the longest metadata of a client and of a call; an entry counts 32 more
    tracebacks       whether callers see the traceback of an exception
    interceptors     each is called around each method: ``interceptor(context, proceed)`` returns
                     ``proceed()``, of which a coroutine method makes an awaitable
    idle_timeout     seconds after which a silent client is disconnected, None for never
    linger           how long closing waits for clients to take their answers
    busy_poll_us     microseconds to look for calls before sleeping

    Raises TypeError for a service that cannot be served, ValueError for an argument that cannot
    be, OSError where the address cannot be listened on, Forbidden or another RpcError where the
    matchmaker refuses.
    """
    if isinstance(service, type):
        raise TypeError(f"serve {service.__name__}(), an object, not the class {service.__name__}")
    options = {
        "token": token,
        "calls_max": calls_max,
        "body_bytes_max": body_bytes_max,
        "session_seconds": session_seconds,
        "sessions_max": sessions_max,
        "greeting_seconds": greeting_seconds,
        "metadata_bytes_max": metadata_bytes_max,
        "connections_max": connections_max,
    }
    check_period("greeting_seconds", greeting_seconds)
    check_count("metadata_bytes_max", metadata_bytes_max, METADATA_BYTES_MAX)
    if held_bytes_max is not None:
        check_count("held_bytes_max", held_bytes_max, 1 << 48)
    check_period("session_seconds", session_seconds)
    check_count("threads_max", threads_max, 1 << 12)
    check_count("calls_max", calls_max, 1 << 20)
    check_count("sessions_max", sessions_max, 1 << 24)
    check_count("body_bytes_max", body_bytes_max, 1 << 40)
    skeleton = Skeleton(
        Interface.of(interface or type(service)).name,
        threads_max=threads_max,
        body_bytes_max=body_bytes_max,
        tracebacks=tracebacks,
        interceptors=interceptors,
        budget=Budget(4 * body_bytes_max if held_bytes_max is None else held_bytes_max),
    )
    listening = {
        "connections_max": connections_max,
        "idle_timeout": idle_timeout,
        "linger": linger,
        "busy_poll_us": busy_poll_us,
    }
    several = isinstance(address, list)
    listed: Any = address if several else [address]
    server = Server(service, interface or type(service), skeleton, options)
    try:
        server._listen(listed, listening, advertise)
        if matchmaker is not None:
            server._register(matchmaker, advertise, token)
    except BaseException:
        server.close()
        raise
    return server


class Engine(MultiServer):
    """One that lets strangers send little, and each client a few frames before the next one."""

    def _bind(self, family: int, sockaddr: Sockaddr) -> None:
        self._options |= {
            "first_bytes_max": HELLO_BYTES_MAX,
            "turn_messages_max": TURN_MESSAGES_MAX,
        }
        super()._bind(family, sockaddr)


class Server:
    """A running server of one service. Made by :func:`serve`. ``with`` closes it."""

    def __init__(
        self, service: object, interface: type, skeleton: Skeleton, options: dict[str, Any]
    ) -> None:
        self.interface = Interface.of(interface)
        self._secret = secrets.token_bytes(32)
        self.incarnation = incarnation_of(self._secret)
        self._names: set[str] = set()
        """By which clients may call the addresses at which they meet this server."""
        self._skeleton = skeleton
        self._options = options
        self._lock = threading.Lock()
        self._sessions: dict[bytes, Session] = {}
        self._away: OrderedDict[bytes, Session] = OrderedDict()
        self._silent: deque[tuple[float, Connection]] = deque()
        self._keeper = Keeper(self._tend)
        self._engines: list[Engine] = []
        self._draining = False
        self._registrar: Registrar | None = None
        self._closed = threading.Event()
        self._linger = 1.0
        self._methods: Methods = {}
        self._infos: dict[str, wire.MethodInfo] = {}
        self._begun = monotonic()
        self._add(self.interface, service, 0)
        skeleton.check_interceptors(self._methods)
        self._add(BUILTINS, Builtins(self.interface, self.health), 1 << 15)
        if isinstance(service, Matchmaker):
            service.expect_token(options["token"])
        self._inline = InlineCalls(
            skeleton.inline_methods(self._methods),
            options["calls_max"],
            receive=self._received,
            end=skeleton.end_inline,
            make_call=Running,
            make_context=Context,
            current=_current,
        )

    def _add(self, interface: Interface, service: object, base: int) -> None:
        for number, (name, signature) in enumerate(interface.methods.items(), base + 1):
            function = getattr(service, name, None)
            if not callable(function):
                raise TypeError(f"{type(service).__qualname__} has no method {name}()")
            self._methods[number] = signature, signature.adapted(function), Tally()
            text = signature.text[:TEXT_MAX]
            self._infos[name] = wire.MethodInfo(number, signature.digest, text)

    def _listen(self, listed: Sequence[Address], options: dict[str, Any], advertise: Any) -> None:
        self._linger = options["linger"]
        for address in listed:
            engine = Engine(
                address,
                framing="length",
                message_bytes_max=wire.FRAME_BYTES_MAX,
                outbox_bytes_max=OUTBOX_BYTES_MAX,
                log_bytes=LOG_BYTES,
                **options,
            )
            engine.on_connect(self._connected)
            engine.on_message(self._inline)
            engine.on_disconnect(self._disconnected)
            self._engines.append(engine)
        files = [each for each in self.addresses if isinstance(each, str)]
        self._names = names_of(files) | names_of(advertise)
        self._keeper.start()
        for engine in self._engines:
            engine.start()

    def _register(self, matchmaker: Address, advertise: Any, token: str) -> None:
        instance = Instance(
            self.interface.name,
            self.interface.version,
            self.incarnation.hex(),
            announced(self.addresses, advertise, matchmaker),
            socket.gethostname(),
            os.getpid(),
        )
        self._registrar = Registrar(instance, self._secret, matchmaker, token)
        self._registrar.start()

    def _unregister(self) -> None:
        if self._registrar is not None:
            self._registrar.stop()

    # ---- For the user ----

    @property
    def address(self) -> tuple[str, int] | str:
        """Where it listens: the first address, with the real port."""
        return self._engines[0].address

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """All addresses at which it listens."""
        return [engine.address for engine in self._engines]

    @property
    def draining(self) -> bool:
        """Whether it takes no new calls."""
        return self._draining

    def drain(self, timeout: float | None = None) -> None:
        """Finishes the calls that run and refuses new ones, which clients send elsewhere.

        A method of this server may call it: its own call is not waited for. Raises TimeoutError if
        calls still run after ``timeout`` seconds, RuntimeError in a coroutine, which would hold up
        the others.
        """
        if self._skeleton.on_loop:
            raise RuntimeError(
                "drain() would hold up the event loop: await asyncio.to_thread(server.drain)"
            )
        own = self._own_call()
        self._refuse_calls()
        if not self._skeleton.wait_idle(timeout, 0 if own is None else 1):
            raise TimeoutError(f"{self._skeleton.running_count} calls still run after {timeout} s")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the server is closed; False after ``timeout`` seconds."""
        return self._closed.wait(timeout)

    def close(self) -> None:
        """Cancels what runs, and closes all connections. Idempotent; in a forked child it does
        nothing.

        In a method of this server it returns at once, and the server closes when the method's call
        has ended; ``wait`` tells when. RuntimeError in an inline method.
        """
        if self._closed.is_set() or any(engine._abandoned for engine in self._engines):
            return
        if any(engine._drives for engine in self._engines):
            raise RuntimeError(
                "an inline method runs in the thread that would have to close: declare it without"
                " inline=True"
            )
        own = self._own_call()
        for session in self._refuse_calls():
            session.cancel_all(own)
        if own is not None or self._skeleton.on_loop:
            self._keeper.finish(self._shut_later)
        else:
            self._shut()

    def _own_call(self) -> Running | None:
        """The call of this server that the calling thread or task runs."""
        context = _current.get(None)
        if context is None:
            return None
        with self._lock:
            sessions = list(self._sessions.values())
        running = (call for session in sessions for call in list(session.running.values()))
        return next((call for call in running if call.context is context), None)

    def _shut_later(self) -> None:
        self._skeleton.wait_idle(self._linger)
        self._shut()

    def _shut(self) -> None:
        for engine in self._engines:
            engine.close()
        self._skeleton.close(self._linger)
        self._keeper.close()
        self._closed.set()

    def _refuse_calls(self) -> list[Session]:
        """From now on no call begins; tells the clients so, with the number of the last one that
        may have begun. Returns their sessions."""
        self._unregister()
        self._draining = True
        self._inline.close()
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            outgoing = session.outgoing
            if outgoing is not None:
                outgoing.put_control(wire.frame(wire.DRAIN, session.highest))
        return sessions

    def health(self) -> dict[str, Any]:
        """What the built-in method ``rpc_health`` answers.

        Under "methods" are those that have been called: how many calls have ended ("calls"), how
        many of them with an error ("errors"), how many run or wait ("running"), and in how many
        seconds half of them and 99 of 100 have ended ("p50", "p99"), rounded up to a power of two
        of microseconds. Of inline methods the time of one in 64 is taken.
        """
        tallies = [(signature.name, tally) for signature, _, tally in self._methods.values()]
        return {
            "status": "draining" if self._draining else "serving",
            "service": self.interface.name,
            "version": self.interface.version,
            "incarnation": self.incarnation.hex(),
            "age": monotonic() - self._begun,
            "running": self._skeleton.running_count,
            "sessions": len(self._sessions),
            "methods": {
                name: {
                    "calls": tally.calls,
                    "errors": tally.errors,
                    "running": tally.running,
                    "p50": tally.quantile(0.5),
                    "p99": tally.quantile(0.99),
                }
                for name, tally in tallies
                if tally.calls or tally.running
            },
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = ", ".join(addresses.show(engine.address) for engine in self._engines)
        return f"<rpc.Server {self.interface.name} {where}>"

    # ---- Connections ----

    def _connected(self, conn: Connection) -> None:
        self._silent.append((monotonic(), conn))
        if len(self._silent) == 1:
            self._keeper.look()

    def _tend(self) -> float | None:
        """Does what is due by time; in how many seconds it is needed again."""
        with self._lock:
            forgotten = self._forget_sessions()
            first = next(iter(self._away.values()), None)
        for session in forgotten:
            session.forget_all()
            session.cancel_all()
        due = self._hang_up_on_silent()
        if first is not None and first.left_at is not None:
            left = max(0.01, first.left_at + self._options["session_seconds"] - monotonic())
            due = left if due is None else min(due, left)
        return due

    def _hang_up_on_silent(self) -> float | None:
        """Closes the connections that have had their time to say hello; when to look again."""
        silent, now = self._silent, monotonic()
        for _ in range(len(silent)):  # Others may come at the end.
            begun, conn = silent.popleft()
            greeted = conn.context is False or isinstance(conn.context, Session)
            if not greeted and conn.reason is None:
                silent.append((begun, conn))
        limit = self._options["greeting_seconds"]
        places = min(self._options["connections_max"], getrlimit(RLIMIT_NOFILE)[0])
        if 2 * len(silent) > places - sum(len(engine.connections) for engine in self._engines):
            limit /= CROWDED
        while silent and silent[0][0] <= now - limit:
            silent.popleft()[1].close()
        return min(0.5, limit / CROWDED) if silent else None

    def _received(self, conn: Connection, frame: bytes) -> None:
        session = conn.context
        if session.__class__ is not Session:
            if session is None or session.__class__ is Challenged:
                self._greet(conn, frame)
            return
        if len(frame) < wire.HEADER_BYTES:
            self._refuse(conn, BadRequest(f"a frame of {len(frame)} bytes has no header"))
            return
        kind, flags, method, amount, number, extra = wire.unpack(frame)
        if kind == wire.CALL:
            if flags & wire.MORE:
                self._assemble_first(session, frame)
                return
            body = memoryview(frame)[wire.HEADER_BYTES :]
            self._begin(session, number, method, flags, extra, body)
            return
        self._control(session, kind, amount, number, extra, frame)

    def _control(
        self, session: Session, kind: int, amount: int, number: int, extra: int, frame: bytes
    ) -> None:
        outgoing, conn = session.outgoing, session.conn
        if outgoing is None or conn is None:
            return
        if kind == wire.CHUNK:
            self._assemble(session, number, frame, wire.HEADER_BYTES)
        elif kind == wire.CREDIT and number == 0:
            outgoing.credit(amount)
        elif kind == wire.CREDIT:
            call = session.running.get(number)
            if call is not None and call.context._stream is not None:
                call.context._stream(amount, extra)
        elif kind == wire.CANCEL:
            if session.cancel(number):
                self._answer_error(session, number, Cancelled("cancelled before it had come"))
        elif kind == wire.ACK:
            self._forget_answers(session, conn, memoryview(frame)[wire.HEADER_BYTES :])
        elif kind == wire.PING:
            outgoing.put_control(wire.frame(wire.PONG))
        elif kind == wire.BYE:
            self._end(session)
        else:
            self._refuse(conn, BadRequest(f"a frame of unknown kind {kind}"))

    def _forget_answers(self, session: Session, conn: Connection, payload: memoryview) -> None:
        count = len(payload) // 8
        if count > KEPT_MAX:
            why = f"an ACK names {count} calls; {KEPT_MAX} are the most that are kept"
            self._refuse(conn, BadRequest(why))
            return
        session.forget(struct.unpack_from(f">{count}Q", payload))

    def _refuse(self, conn: Connection, error: RpcError) -> None:
        """Says why, and closes the connection. A client that is refused has no second hello."""
        if not isinstance(conn.context, Session):
            conn.context = False
        with suppress(ConnectionClosed):  # It has ended meanwhile.
            conn.send(wire.frame(wire.REFUSED, payload=failure_of(error)))
        conn.close()

    def _disconnected(self, conn: Connection, reason: str) -> None:
        session = conn.context
        if not isinstance(session, Session) or session.conn is not conn:
            return
        session.detach()
        with self._lock:
            away = self._sessions.get(session.token) is session
            if away:
                self._away[session.token] = session
        if not away:
            session.forget_all()
        self._keeper.look()

    def _forget_sessions(self) -> list[Session]:
        """Those that are away for too long, or too many. The lock is held."""
        forgotten: list[Session] = []
        before = monotonic() - self._options["session_seconds"]
        while self._away:
            token, session = next(iter(self._away.items()))
            recent = session.left_at is None or session.left_at > before
            if recent and len(self._away) <= self._options["sessions_max"]:
                break
            del self._away[token]
            self._sessions.pop(token, None)
            forgotten.append(session)
        return forgotten

    def _end(self, session: Session) -> None:
        """The client has said goodbye. What its calls return, now that they are cancelled, is no
        result: it must not meet the client while that is closing."""
        with self._lock:
            if self._sessions.get(session.token) is session:
                del self._sessions[session.token]
        if session.conn is not None:
            session.conn.context = False
        session.detach()
        session.forget_all()
        session.cancel_all(oneway=False)

    # ---- Hello ----

    def _greet(self, conn: Connection, frame: bytes) -> None:
        try:
            if frame[:1] == _CHALLENGE and conn.context is None:
                self._answer_challenge(conn, frame)
                return
            hello = self._read_hello(frame, conn.context)
        except RpcError as error:
            self._refuse(conn, error)
            return
        with self._lock:
            known = self._sessions.get(hello.session)
            session = known if hello.resume else None
            resumed = session is not None
            if session is None:
                budget, drop = self._skeleton.budget, self._skeleton.drop
                session = Session(hello.session, hello.metadata, budget, drop)
            self._sessions[hello.session] = session
            self._away.pop(hello.session, None)
        if known is not None and known is not session:
            known.forget_all()
        if session.conn is not None:
            session.conn.context = False
            session.conn.close()
            session.detach()
        limits = self._options
        session.attach(conn, 2 * limits["calls_max"], 4 * limits["body_bytes_max"])
        conn.context = session
        conn._trust()
        answer = wire.ServerHello(
            wire.PROTOCOL,
            self.interface.name,
            self.interface.version,
            self.incarnation,
            resumed,
            session.highest,
            sorted(session.incomplete),
            self._options["calls_max"],
            self._options["body_bytes_max"],
            self._infos,
        )
        with suppress(ConnectionClosed):  # Its end is told to _disconnected.
            conn.send(wire.frame(wire.HELLO, payload=wire.encode(answer)))
            if self._draining:
                conn.send(wire.frame(wire.DRAIN, session.highest))

    def _answer_challenge(self, conn: Connection, frame: bytes) -> None:
        """Proves that this server knows the token, before the client says anything of itself."""
        try:
            challenge = wire.read_challenge(memoryview(frame)[wire.HEADER_BYTES :])
        except wire.Malformed as error:
            raise BadRequest(f"the challenge cannot be read: {error}") from None
        self._check_protocol(challenge)
        self._check_wanted(challenge)
        with suppress(ConnectionClosed):
            where = conn.address
            here = self._names if isinstance(where, str) else self._names | {tcp_name(*where)}
            ours = self.interface
            conn.context = Challenged(
                self._options["token"], challenge, ours.name, ours.version, self.incarnation, here
            )
            proof = wire.encode(conn.context.proof)
            conn.send(wire.frame(wire.PROOF, payload=proof))

    def _check_protocol(self, said: wire.Challenge | wire.ClientHello) -> None:
        if said.protocol != wire.PROTOCOL:
            raise VersionMismatch(f"protocol {said.protocol}; this server speaks {wire.PROTOCOL}")

    def _check_wanted(self, said: wire.Challenge | wire.ClientHello) -> None:
        """VersionMismatch unless the client wants what is served here."""
        ours = self.interface
        if said.service and (said.service, said.version) != (ours.name, ours.version):
            raise VersionMismatch(
                f"it serves {ours.name} version {ours.version}, not {said.service[:100]} version"
                f" {said.version[:100]}"
            )

    def _check_token(self, hello: wire.ClientHello, challenged: Challenged | None) -> None:
        try:
            proof = wire.proof_of(hello)
        except wire.Malformed:
            raise BadRequest("the proof in the hello is no bytes") from None
        except wire.ClearToken:
            raise VersionMismatch(
                "the client sends its token in clear, as old ones did: it needs a newer fastsock"
            ) from None
        if challenged is not None:
            if not challenged.proves(hello, proof):
                raise Forbidden("the token is wrong")
        elif self._options["token"]:
            raise Forbidden("a token is needed, with a challenge first")

    def _read_hello(self, frame: bytes, challenged: Challenged | None) -> wire.ClientHello:
        """The client's hello; an error if it must not be let in."""
        if len(frame) < wire.HEADER_BYTES or frame[0] != wire.HELLO:
            raise BadRequest("the first frame is not a hello of fastsock.rpc")
        try:
            hello = wire.read_client_hello(memoryview(frame)[wire.HEADER_BYTES :])
        except wire.Malformed as error:
            raise BadRequest(f"the hello cannot be read: {error}") from None
        self._check_protocol(hello)
        self._check_token(hello, challenged)
        self._check_wanted(hello)
        size, most = metadata_size(hello.metadata), self._options["metadata_bytes_max"]
        if size > most:
            raise BadRequest(f"metadata of {size} bytes; metadata_bytes_max is {most}")
        if not 8 <= len(hello.session) <= 64:
            raise BadRequest(f"a session of {len(hello.session)} bytes; it must be of 8 to 64")
        return hello

    # ---- Calls ----

    def _assemble_first(self, session: Session, frame: bytes) -> None:
        _, flags, method, _, number, remaining_us = wire.unpack(frame)
        at = wire.HEADER_BYTES + wire.TOTAL.size
        if len(frame) < at:
            error = BadRequest(f"call {number} ends before its length")
            self._answer_error(session, number, error)
            return
        (total,) = wire.TOTAL.unpack_from(frame, wire.HEADER_BYTES)
        limit = self._options["body_bytes_max"]
        if total > limit:
            session.seen(number)
            self._answer_error(session, number, too_large(total, limit))
            return
        if len(session.assembling) >= self._options["calls_max"]:
            self._answer_error(session, number, self._overloaded())
            return
        if number in session.assembling:
            self._answer_error(session, number, BadRequest(f"call {number} begins twice"))
            return
        if number > session.highest:
            session.note_incomplete(number, self._options["calls_max"])
        flags &= ~wire.MORE
        session.assembling[number] = Assembly(method, flags, remaining_us, total)
        self._assemble(session, number, frame, at)

    def _assemble(self, session: Session, number: int, frame: bytes, at: int) -> None:
        """Adds to a body what the frame holds from there on; begins the call when it is whole.
        Pieces of refused ones are dropped."""
        body = session.assembling.get(number)
        if body is None:
            return
        budget = self._skeleton.budget
        over = not budget.take(session, len(frame) - at)
        before = len(body.data)
        missing = -1 if over else body.data.add(frame, at)
        if not over:
            budget.give(session, len(frame) - at - (len(body.data) - before))
        if missing > 0:
            return
        del session.assembling[number]
        budget.give(session, len(body.data))
        if missing < 0:
            session.seen(number)
            error: RpcError = BadRequest(f"call {number} is too long")
            if over:
                error = Overloaded(f"no room for its body: held_bytes_max = {budget.bytes_max}")
            self._answer_error(session, number, error)
            return
        whole = memoryview(body.data)
        self._begin(session, number, body.method, body.flags, body.remaining_us, whole)

    def _begin(
        self,
        session: Session,
        number: int,
        method: int,
        flags: int,
        remaining_us: int,
        body: memoryview,
    ) -> None:
        if session.seen(number):
            self._again(session, number)
            return
        found = self._methods.get(method)
        if found is None:
            error: RpcError = UnknownMethod(f"{self.interface.name} has no method {method}")
            self._answer_error(session, number, error)
            return
        signature, function, tally = found
        if self._draining and method < 1 << 15:
            self._answer_error(session, number, Unavailable("the server is draining"))
            return
        if len(session.running) >= self._options["calls_max"]:
            self._answer_error(session, number, self._overloaded())
            return
        metadata = session.metadata
        if flags & wire.METADATA:
            try:
                size = int.from_bytes(body[:2])
                own = wire.read_metadata(body[2 : 2 + size])
                if metadata_size(own) > self._options["metadata_bytes_max"]:
                    raise wire.Malformed("it is too long")
                metadata = MappingProxyType(ChainMap(own, session.shared))
                body = body[2 + size :]
                if flags & wire.SEGMENTS:  # Arrays are aligned within a body of their own.
                    body = memoryview(bytearray(body))
            except wire.Malformed as error:
                bad = BadRequest(f"the metadata is no map of str to str: {error}")
                self._answer_error(session, number, bad)
                return
        context = Context(session.peer, signature.name, metadata, deadline_of(remaining_us))
        call = Running(session, number, signature, function, tally, context, flags, body)
        self._skeleton.run(call)

    def _again(self, session: Session, number: int) -> None:
        """A call that has been here: it is joined, answered again, or too old to know."""
        if number in session.running or session.answer_again(number):
            return
        error = OutcomeUnknown("the call has been here before; its answer is not kept any more")
        self._answer_error(session, number, error)

    def _overloaded(self) -> RpcError:
        return Overloaded(f"calls_max = {self._options['calls_max']} calls run already")

    def _answer_error(self, session: Session, number: int, error: RpcError) -> None:
        session.answer(number, wire.ERROR, 0, failure_of(error), keep=False)
