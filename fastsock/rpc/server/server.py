"""Serving: one object to the clients that come, from the first to the last."""

import logging
import os
import secrets
import threading
import warnings
from collections.abc import Callable, Sequence
from socket import gethostname
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakMethod

from fastsock.core import address as addresses
from fastsock.core.address import Address
from fastsock.core.closing import Closable
from fastsock.core.handed import Handed
from fastsock.core.options import check_count, check_timeout
from fastsock.rpc import wire
from fastsock.rpc.context import METADATA_BYTES_MAX, Context, _current
from fastsock.rpc.interface import interface_of
from fastsock.rpc.matchmaker.places import announced, names_of, standing
from fastsock.rpc.matchmaker.registry import Instance, incarnation_of
from fastsock.rpc.matchmaker.service import Matchmaker
from fastsock.rpc.server._inline import InlineCalls, Tally
from fastsock.rpc.server.admission import BUILT_IN, Admission
from fastsock.rpc.server.budget import Budget
from fastsock.rpc.server.builtin import BUILTINS, Builtins
from fastsock.rpc.server.intake import Intake
from fastsock.rpc.server.keeper import Keeper
from fastsock.rpc.server.limits import Limits
from fastsock.rpc.server.reception import HELLO_BYTES_MAX, Reception
from fastsock.rpc.server.registrar import Registrar
from fastsock.rpc.server.session import Running, Session
from fastsock.rpc.server.sessions import Sessions
from fastsock.rpc.server.skeleton import Interceptor, Methods, Skeleton
from fastsock.rpc.signature import Interface
from fastsock.rpc.values.weights import VALUES_MAX
from fastsock.rpc.wire.handshake import check_token
from fastsock.server import MultiServer
from fastsock.server.options import Tuning

__all__ = ["Server", "serve"]

T = TypeVar("T")

log = logging.getLogger("fastsock.rpc")

TURN_MESSAGES_MAX = 64
"""Frames of one client after which it is the others' turn."""

TURN_NS = 500_000
"""About how long the frames of a turn take if clients have more to say than fits in: each gets so
many fewer than TURN_MESSAGES_MAX. An answer waits for two turns at most."""

TEXT_MAX = 200
"""Characters of a signature that a hello shows."""

OUTBOX_BYTES_MAX = 1 << 23
LOG_BYTES = 1 << 21

ANY_PORT = ("127.0.0.1", 0)


def serve(
    service: object,
    address: Address | list[Address] | None = None,
    *,
    socket: Handed | list[Handed] | None = None,
    fd: int | list[int] | None = None,
    dual_stack: bool = False,
    interface: type | None = None,
    matchmaker: Address | None = None,
    advertise: Address | Sequence[Address] | None = None,
    token: str = "",
    threads_max: int = 16,
    calls_max: int = 1024,
    body_bytes_max: int = 1 << 26,
    values_max: int = VALUES_MAX,
    connections_max: int = 10_000,
    session_seconds: float = 30.0,
    sessions_max: int = 1000,
    greeting_seconds: float = 10.0,
    reading_seconds: float = 30.0,
    held_bytes_max: int | None = None,
    metadata_bytes_max: int = METADATA_BYTES_MAX,
    tracebacks: bool = False,
    interceptors: Sequence[Interceptor] = (),
    idle_timeout: float | None = None,
    linger: float = 1.0,
    busy_poll_us: int = 0,
) -> "Server":
    """Serves the marked methods of an object; returns the running :class:`Server`.

    ``address``, ``socket``, ``fd`` and ``dual_stack`` are those of :class:`fastsock.MultiServer`,
    lists included; without any of them it is a free port of 127.0.0.1. ``interface`` is the class
    whose marked methods count, by default the service's own.

    matchmaker       address of a matchmaker that tells clients of this server while it lives and
                     does not drain; if it does not answer, it is asked until it does
    advertise        the address, or list of addresses, at which clients find the server: by default
                     ``address``, where 0.0.0.0 and :: become this machine's towards the matchmaker;
                     8 at most, so say which if the server listens at more.
                     With a token, clients that come by another address than that of the
                     connection, as through NAT, need it even without a matchmaker
    token            clients must prove that they know it, and this server proves it to them first;
                     the matchmaker has the same one. It never crosses the wire, but a short one can
                     be guessed from what does: take ``secrets.token_urlsafe(32)``
    threads_max      threads of the pool that runs methods
    calls_max        calls of one client that run at a time; more are refused
    body_bytes_max   the longest arguments or result
    values_max       the most values in the arguments of a call: a text counts 2 and 1 more for 64
                     bytes, a list or a map 8 beside what is in it; docs/limits.md has the rest. A
                     million takes some 30 ms to decode, in which no other thread runs
    connections_max  clients at a time, fewer if RLIMIT_NOFILE does not allow so many
    session_seconds  for so long a client that lost its connection can come back to its calls
    sessions_max     clients that may be away at a time; the longest away are forgotten
    greeting_seconds for so long a connection may be without a hello; a tenth of that while such
                     connections take half of the places that are left
    reading_seconds  a client for which answers wait must take 64 KiB of them in that time, or it is
                     closed
    held_bytes_max   what unfinished arguments, calls that wait or run, answers that clients have
                     not read, and those kept for them take, for all clients together, of which
                     each may have as much as is left; None: four times body_bytes_max. If all is
                     taken, the answers kept for clients that are away go, then the largest
                     holders are refused with Overloaded, or closed if they read nothing
    metadata_bytes_max  the longest metadata of a client and of a call; an entry counts 32 more
    tracebacks       whether callers see the traceback of an exception
    interceptors     each is called around each method: ``interceptor(context, proceed)`` returns
                     ``proceed()``, of which a coroutine method makes an awaitable
    idle_timeout     seconds after which a silent client is disconnected, None for never
    linger           how long closing waits for clients to take their answers
    busy_poll_us     microseconds to look for calls before sleeping

    Raises TypeError for a service that cannot be served, ValueError for an argument that cannot
    be, OSError that names the address that cannot be listened on, Forbidden or another RpcError
    where the matchmaker refuses.
    """
    if isinstance(service, type):
        raise TypeError(f"serve {service.__name__}(), an object, not the class {service.__name__}")
    if held_bytes_max is None:
        held_bytes_max = 4 * body_bytes_max
    limits = Limits(
        connections_max=connections_max,
        greeting_seconds=greeting_seconds,
        reading_seconds=reading_seconds,
        session_seconds=session_seconds,
        sessions_max=sessions_max,
        calls_max=calls_max,
        body_bytes_max=body_bytes_max,
        values_max=values_max,
        held_bytes_max=held_bytes_max,
        metadata_bytes_max=metadata_bytes_max,
    )
    check_count("threads_max", threads_max, 1 << 12)
    check_token(token)
    skeleton = Skeleton(
        interface_of(interface or type(service)).name,
        threads_max=threads_max,
        body_bytes_max=body_bytes_max,
        values_max=values_max,
        tracebacks=tracebacks,
        interceptors=interceptors,
        budget=Budget(held_bytes_max),
    )
    if address is None and socket is None and fd is None:
        address = ANY_PORT
    listening = {
        "socket": socket,
        "fd": fd,
        "dual_stack": dual_stack,
        "connections_max": limits.places,
        "idle_timeout": idle_timeout,
        "linger": linger,
        "busy_poll_us": busy_poll_us,
    }
    server = Server(service, interface or type(service), skeleton, token, limits)
    try:
        server._listen(address, listening, advertise)
        if matchmaker is not None:
            server._register(matchmaker, advertise, token)
    except BaseException:
        server.close()
        raise
    return server


class Engine(MultiServer):
    """One that lets strangers send little, and each client a few frames before the next one."""

    _tuning = Tuning(
        first_bytes_max=HELLO_BYTES_MAX, turn_messages_max=TURN_MESSAGES_MAX, turn_ns=TURN_NS
    )


def _called(method: WeakMethod[Callable[[], T]]) -> T | None:
    """What the method returns; None if its object is gone."""
    bound = method()
    return None if bound is None else bound()


class Server(Closable):
    """A running server of one service. Made by :func:`serve`. ``with`` closes it."""

    _engine: Engine | None = None

    def __init__(
        self, service: object, interface: type, skeleton: Skeleton, token: str, limits: Limits
    ) -> None:
        self.interface = interface_of(interface)
        self._secret = secrets.token_bytes(32)
        self.incarnation = incarnation_of(self._secret)
        self._skeleton = skeleton
        self._registrar: Registrar | None = None
        self._closed = threading.Event()
        self._linger = 1.0
        self._methods: Methods = {}
        self._infos: dict[str, wire.MethodInfo] = {}
        self._begun = monotonic()
        self._add(self.interface, service, 0)
        skeleton.check_interceptors(self._methods)
        # Its threads do not hold the server, so that one that the program drops ends.
        health, tend = WeakMethod(self.health), WeakMethod(self._tend)
        self._add(BUILTINS, Builtins(self.interface, lambda: _called(health) or {}), BUILT_IN)
        if isinstance(service, Matchmaker):
            service.expect_token(token)
        self._keeper = keeper = Keeper(lambda: _called(tend))
        self._sessions = Sessions(limits, skeleton.budget, skeleton)
        self._reception = Reception(
            self.interface, self.incarnation, self._infos, token, limits, keeper.look
        )
        self._admission = Admission(self.interface.name, self._methods, skeleton, limits)
        self._intake = Intake(self._reception, self._sessions, self._admission, limits, keeper.look)
        self._inline = InlineCalls(
            skeleton.inline_methods(self._methods),
            limits.calls_max,
            receive=self._intake.received,
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

    def _listen(
        self, address: Address | list[Address] | None, options: dict[str, Any], advertise: Any
    ) -> None:
        self._linger = options["linger"]
        self._engine = engine = Engine(
            address,
            framing="length",
            message_bytes_max=wire.FRAME_BYTES_MAX,
            outbox_bytes_max=OUTBOX_BYTES_MAX,
            log_bytes=LOG_BYTES,
            **options,
        )
        engine.on_connect(self._reception.connected)
        engine.on_message(self._inline)
        engine.on_disconnect(self._intake.disconnected)
        local = [each for each in standing(engine.addresses) if isinstance(each, str)]
        self._reception.names = names_of(local) | names_of(advertise)
        self._keeper.start()
        engine.start()

    def _register(self, matchmaker: Address, advertise: Any, token: str) -> None:
        instance = Instance(
            self.interface.name,
            self.interface.version,
            self.incarnation.hex(),
            announced(self.addresses, advertise, matchmaker),
            gethostname(),
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
        """Where it listens: the first of ``addresses``, with the real port."""
        return self.addresses[0]

    @property
    def addresses(self) -> tuple[tuple[str, int] | str, ...]:
        """All addresses at which it listens."""
        assert self._engine is not None, "serve() returns a server that listens"
        return self._engine.addresses

    @property
    def draining(self) -> bool:
        """Whether it takes no new calls."""
        return self._admission.draining

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
        left = check_timeout(timeout)
        own = self._own_call()
        self._refuse_calls()
        if not self._skeleton.wait_idle(left, 0 if own is None else 1):
            raise TimeoutError(f"{self._skeleton.running_count} calls still run after {timeout} s")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the server is closed; False after ``timeout`` seconds."""
        return self._closed.wait(check_timeout(timeout))

    def close(self) -> None:
        """Cancels what runs, and closes all connections. Idempotent; in a forked child it does
        nothing.

        In a method of this server it returns at once, and the server closes when the method's call
        has ended; ``wait`` tells when. RuntimeError in an inline method.
        """
        engine = self._engine
        if self._closed.is_set() or (engine is not None and engine._abandoned):
            return
        if engine is not None and engine._drives:
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

    def __del__(self) -> None:
        engine = self._engine
        if engine is None or engine._abandoned or self._closed.is_set():
            return
        warnings.warn(
            f"{self!r} was dropped and not closed: use it in a with statement, or close it",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )
        self._keeper.finish(self._shut_dropped)

    def _shut_dropped(self) -> None:
        log.warning("%r was dropped and not closed; it closes now", self)
        for session in self._refuse_calls():
            session.cancel_all(None)
        self._shut()

    def _own_call(self) -> Running | None:
        """The call of this server that the calling thread or task runs."""
        context = _current.get(None)
        if context is None:
            return None
        sessions = self._sessions.all()
        running = (call for session in sessions for call in list(session.running.values()))
        return next((call for call in running if call.context is context), None)

    def _shut_later(self) -> None:
        self._skeleton.wait_idle(self._linger)
        self._shut()

    def _shut(self) -> None:
        if self._engine is not None:
            self._engine.close(handle_input=False)
        self._skeleton.close(self._linger)
        self._keeper.close()
        self._closed.set()

    def _refuse_calls(self) -> list[Session]:
        """From now on no call begins; tells the clients so, with the number of the last one that
        may have begun. Returns their sessions."""
        self._unregister()
        self._admission.draining = True
        self._inline.close()
        sessions = self._sessions.all()
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
            "status": "draining" if self._admission.draining else "serving",
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

    def __repr__(self) -> str:
        where = ", ".join(map(addresses.show, self.addresses))
        return f"<rpc.Server {self.interface.name} {where}>"

    def _tend(self) -> float | None:
        """Does what is due by time; in how many seconds it is needed again."""
        count = len(self._engine.connections) if self._engine is not None else 0
        due = (
            self._sessions.forget_due(),
            self._sessions.close_slow(),
            self._reception.hang_up_on_silent(count),
        )
        return min((each for each in due if each is not None), default=None)
