"""One server, many clients: the lecture's algorithm 11-5 without its limits."""

import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ClassVar, Literal, Self, TypeVar

from fastsock.core import address as addresses
from fastsock.core.closing import Closing
from fastsock.core.handed import Handed
from fastsock.core.listening import Listening
from fastsock.core.options import (
    Framing,
    check_callback,
    check_choice,
    check_count,
    check_period,
    check_result,
    check_seconds,
    check_stream,
)
from fastsock.errors import ConnectionClosed, LogFull, ServerClosed
from fastsock.server._config import CHANNELS_MAX, EDIT_BYTES
from fastsock.server._connection import Channel, Connection
from fastsock.server._engine import Engine, Reactor
from fastsock.server._events import Connected, Disconnected, Event, Gap

__all__ = ["MultiServer"]

log = logging.getLogger("fastsock")

SlowPolicy = Literal["disconnect", "drop_oldest", "block"]
RELAYS = (None, "others", "all")
SLOW_POLICIES = ("disconnect", "drop_oldest", "block")
NOT_OPTIONS = ("self", "__class__", "address", "socket", "fd", "dual_stack", "backlog")
GAP_NOTICE_BYTES_MAX = 1024
CONNECTIONS_MAX = 1 << 24
FLUSH_BYTES = 1 << 18
"""How much one client is sent of one channel before it is the next one's turn."""
CLOSE_MARGIN = 5.0
"""Seconds beyond ``linger`` that close() waits for a thread that is busy in a handler."""

OnConnect = TypeVar("OnConnect", bound=Callable[[Connection], object])
OnMessage = TypeVar("OnMessage", bound=Callable[[Connection, bytes], object])
OnGap = TypeVar("OnGap", bound=Callable[[Connection, str, int], object])
OnDisconnect = TypeVar("OnDisconnect", bound=Callable[[Connection, str], object])


class MultiServer(Engine, Closing):
    """Serves any number of clients, and publishes to all of them at the speed of C.

    ``address`` is ``(host, port)``, port 0 for any free one; a path for a UNIX socket; ``"@name"``
    for one in the abstract namespace, which has no file, and no permissions; or a list of those. A
    host name stands for all its addresses, at one port. The server binds and listens at once, at 64
    sockets at most. There are three ways to drive it, one at a time:

    - inline: ``for event in server`` or ``server.poll()``, in this thread;
    - handlers: ``@server.on_message`` and its like, then ``server.serve_forever()``;
    - ``server.start()``: a thread of its own, with or without handlers.

    A handler is a plain function, and what it raises is logged to the ``fastsock`` logger and
    closes the connection that it was called for. ConnectionClosed and LogFull are another
    connection's if their ``number`` says so: they are logged and close nothing.

    Options, all keyword-only (``*_bytes`` in bytes, times in seconds):

    framing            "line": text that ends with a newline; "length": u32 big-endian, then bytes;
                       "raw": none, a message is what arrived at once
    final_line         with "line": what a client says last, without a newline, before it closes is
                       a message, too; else its connection ends with Reason.UNFINISHED
    relay              None, or whom the engine sends what a client says: "others" or "all"
    relay_except       a message that begins with these bytes is an event, but not relayed; what
                       its sender says next is looked at when a handler, or the loop over the
                       events, has answered it: by closing, or by publishing something instead
    slow_policy        what becomes of a client that holds the others up: "disconnect": it has
                       ``slow_grace`` to accept a byte; "drop_oldest": it loses the oldest
                       messages, which a ``Gap`` counts; "block": the publisher waits
    gap_notice         bytes that "drop_oldest" puts into a client's stream, as a message, where it
                       has lost messages; ``%d`` in it becomes how many. None: nothing, and ``Gap``
                       tells the program alone
    log_bytes          what may wait for the slowest client; a power of two, at least a page
    message_bytes_max  the longest message, either way
    outbox_bytes_max   what may wait for one client alone
    connections_max    further callers wait in the backlog
    idle_timeout       a client that says nothing for so long is closed; None: never
    heartbeat          an empty message goes to a client that was sent nothing for so long; None
    busy_poll_us       microseconds to look for work before sleeping: latency for CPU time
    handler_timeout    how long a send or broadcast in a handler waits for room, in which nobody is
                       served, if it has no timeout of its own; then LogFull. None: no limit
    linger             how long close() waits for peers to take what is theirs
    backlog            callers that the kernel keeps for us (listen(2))
    dual_stack         the host "::" takes callers over IPv4, too, who have IPv4 addresses as peers
    socket, fd         a listening stream socket, or its descriptor, or a list of them. They become
                       the server's, and close() closes them; the object is closed at once. They do
                       not block from then on, for whoever shares them. Files of UNIX sockets stay
                       the caller's. See :func:`fastsock.listen_fds`

    If this process has no descriptor left for a caller, it is closed at once: ``stats().refused``
    counts it, and the log tells of it.

    Raises ValueError or TypeError for an argument that cannot be, OSError that names the address
    that cannot be listened on; then nothing is open, and what was handed in is still the caller's.
    """

    _shown = "that is not open"
    _own_options: ClassVar[dict[str, Any]] = {"flush_bytes": FLUSH_BYTES}

    def __init__(
        self,
        address: addresses.Address | list[addresses.Address] | None = None,
        *,
        socket: Handed | list[Handed] | None = None,
        fd: int | list[int] | None = None,
        dual_stack: bool = False,
        framing: Framing = "line",
        final_line: bool = False,
        relay: Literal["others", "all"] | None = None,
        relay_except: bytes | None = None,
        slow_policy: SlowPolicy = "disconnect",
        slow_grace: float = 1.0,
        gap_notice: bytes | None = None,
        log_bytes: int = 1 << 22,
        message_bytes_max: int = 1 << 16,
        outbox_bytes_max: int = 1 << 20,
        connections_max: int = 10_000,
        idle_timeout: float | None = None,
        heartbeat: float | None = None,
        handler_timeout: float | None = 5.0,
        linger: float = 1.0,
        busy_poll_us: int = 0,
        backlog: int = 4096,
    ) -> None:
        self._refuse_second_init("_options")
        options = {name: value for name, value in locals().items() if name not in NOT_OPTIONS}
        _check_options(options)
        self.framing = framing
        self._linger = float(linger)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._channels: dict[str, Channel] = {}
        self._on_connect: Callable[[Connection], object] | None = None
        self._on_message: Callable[[Connection, bytes], object] | None = None
        self._on_gap: Callable[[Connection, str, int], object] | None = None
        self._on_disconnect: Callable[[Connection, str], object] | None = None
        self._options = options | self._own_options
        self._listening = listening = Listening(
            address, socket, fd, dual_stack=dual_stack, backlog=backlog
        )
        listening.hand_over(lambda fds: self._open(fds, listening.addresses, self._options))
        self._shown = addresses.show(self.address)

    # ---- Handlers ----

    def on_connect(self, handler: OnConnect) -> OnConnect:
        """Decorator: ``handler(conn)`` runs when a client has connected."""
        check_callback("the handler of on_connect", handler)
        self._on_connect = handler
        return handler

    def on_message(self, handler: OnMessage) -> OnMessage:
        """Decorator: ``handler(conn, data)`` runs for each message, ``data`` being bytes."""
        check_callback("the handler of on_message", handler)
        self._on_message = handler
        return handler

    def on_gap(self, handler: OnGap) -> OnGap:
        """Decorator: ``handler(conn, channel, lost)`` runs when a client has lost messages."""
        check_callback("the handler of on_gap", handler)
        self._on_gap = handler
        return handler

    def on_disconnect(self, handler: OnDisconnect) -> OnDisconnect:
        """Decorator: ``handler(conn, reason)`` runs when a connection has ended."""
        check_callback("the handler of on_disconnect", handler)
        self._on_disconnect = handler
        return handler

    def _handle_other(self, event: Event) -> None:
        match event:
            case Connected(conn):
                if self._on_connect:
                    check_result(self._on_connect, self._on_connect(conn))
            case Gap(conn, channel, lost):
                if self._on_gap:
                    check_result(self._on_gap, self._on_gap(conn, channel, lost))
            case Disconnected(conn, reason):
                if self._on_disconnect:
                    check_result(self._on_disconnect, self._on_disconnect(conn, reason))

    def _handler_failed(self, event: Event, error: BaseException) -> None:
        """Logs it, and closes the connection unless the error is about another one."""
        number = event.conn.number
        if isinstance(error, ConnectionClosed | LogFull) and error.number not in (None, number):
            log.exception("handler of connection %d failed because of %d", number, error.number)
            return
        log.exception("handler failed; closing connection %d", number)
        self._close_failed(event.conn)

    def _handler_raised(self, event: Event, error: BaseException) -> None:
        """As _handler_failed, where what is meant to end the program does."""
        if not isinstance(error, Exception):
            raise error
        self._handler_failed(event, error)

    # ---- Channels ----

    def channel(
        self,
        name: str,
        *,
        slow_policy: SlowPolicy | None = None,
        slow_grace: float | None = None,
        log_bytes: int | None = None,
    ) -> Channel:
        """The channel of that name, made at the first call: a log with readers of its own.

        Options that are not given are the server's. Raises ValueError for options that cannot
        be, for any where the channel exists already, and beyond 255 channels.
        """
        options = {"slow_policy": slow_policy, "slow_grace": slow_grace, "log_bytes": log_bytes}
        given = {key: value for key, value in options.items() if value is not None}
        if not isinstance(name, str) or not name:
            raise ValueError(f"name must be a str that is not empty, not {name!r}")
        self._require_open()
        merged = self._options | given
        _check_options(merged)
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._make_channel(name, merged)
            elif given:
                raise ValueError(f"channel {name!r} exists; its options cannot be changed")
            return channel

    def _make_channel(self, name: str, options: dict[str, Any]) -> Channel:
        if len(self._channels) == CHANNELS_MAX:
            raise ValueError(f"a server has at most {CHANNELS_MAX} channels; {name!r} is one more")
        channel = self._add_channel(
            name, options["log_bytes"], options["slow_policy"], options["slow_grace"]
        )
        self._channels[name] = channel
        return channel

    # ---- Driving ----

    def serve_forever(self) -> None:
        """Runs the handlers in this thread until ``close()`` is called, by a handler or a thread.

        KeyboardInterrupt, SystemExit and what else is no Exception close the server, as ``close()``
        does, and are raised then; events that no handler has seen are kept for a loop over the
        server, or another ``serve_forever()``. Raises RuntimeError if another thread drives the
        server.
        """
        self._claim()
        try:
            self._report_messages(self._on_message is not None)
            while not self._closed:
                self._serve_turn(self._on_message, self._handle_other, self._handler_raised)
        finally:
            self._release()
            self.close()

    def start(self) -> Self:
        """Runs the server in a thread of its own; returns the server, which has to be kept: the
        thread ends when nobody has the server any more.

        Whatever a handler raises there, SystemExit included, is logged; the thread goes on. Raises
        RuntimeError if the server is driven already, or no thread can be started, ServerClosed
        after ``close()``.
        """
        self._require_open()
        if self._closed:
            raise ServerClosed("the server is closed: make another one to start()")
        with self._lock:
            if self._thread is not None:
                raise RuntimeError("the server is started already; start() it once")
            begun: Future[None] = Future()
            arguments = (self._reactor, weakref.ref(self), begun)
            thread = threading.Thread(target=_run, args=arguments, name="fastsock", daemon=True)
            thread.start()
            begun.result()
            self._thread = thread
        return self

    def _begin(self) -> None:
        """The thread begins: it becomes the driver. RuntimeError if there is one."""
        self._claim()
        self._report_messages(self._on_message is not None)

    def _end(self) -> None:
        """The thread ends: so does the server."""
        self._release()
        self.close()

    def close(
        self, *, linger: float | None = None, handle_input: bool = True, wait: bool = True
    ) -> None:
        """Stops listening and closes every connection in an orderly way. Idempotent.

        What was published still goes out; a client that does not take it, or goes on talking, is
        cut off after ``linger`` seconds (None: those of the server). ``linger=0`` does not wait, as
        an event loop that drives the server needs it: remove ``fileno()`` from the loop first.

        What clients have said, and say until they end or are cut off, is still handled by a thread
        that drives the server, unless ``handle_input`` is false; so are callers that have connected
        and were not accepted yet, 256 of them. Sending to them returns False. Where nobody drives,
        it is thrown away, and the kernel resets those callers. ``stats().bytes_unheard`` says how
        much was lost. With ``wait=False`` the method returns at once: a loop that goes on, over the
        server or in ``serve_forever``, then gets all this, and ends when all connections have.

        In a forked child it does nothing. Returns when all connections have ended, except in a
        handler: then the serving thread ends them after it. Iteration goes on until every
        ``Disconnected`` is delivered.
        """
        if self._abandoned:
            return
        if linger is None:
            linger = self._linger
        check_seconds("linger", linger)
        self._listening.remove_files()
        self._close(linger, handle_input and (self._driven or not wait))
        if self._drives or not wait:
            return
        self._wait_closed(linger + CLOSE_MARGIN)
        unheard = self.stats().bytes_unheard
        if unheard:
            log.info("%r: %d bytes that clients had sent were not handled", self, unheard)
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_MARGIN)

    stop = close

    def _drop(self) -> None:
        self._listening.remove_files(wait=False)
        super()._drop()

    # ---- Waiting ----

    def wait_connections(self, count: int, *, timeout: float | None = None) -> None:
        """Waits until at least ``count`` clients are connected.

        ``timeout`` is in seconds, None for ever; TimeoutError says how many there are then.
        """
        self._refuse_in_handler("wait_connections")
        check_count("count", count, CONNECTIONS_MAX, least=0)
        if not self._wait_count(count, timeout):
            raise TimeoutError(
                f"{len(self.connections)} of {count} clients are connected after {timeout} s"
            )

    def drain(self, *, timeout: float | None = None) -> None:
        """Waits until all that was published and sent before is with the kernels of its clients.

        Connections that end meanwhile no longer count. ``timeout`` is in seconds, None for ever;
        TimeoutError says what still waits. RuntimeError in a handler, which keeps it from going.
        """
        self._refuse_in_handler("drain")
        if not self._wait_drained(timeout):
            raise TimeoutError(
                f"{self.stats().queued_bytes} bytes are still queued after {timeout} s"
            )

    def _refuse_in_handler(self, name: str) -> None:
        if self._drives:
            raise RuntimeError(f"{name}() waits for the server, which waits for this handler")

    def __repr__(self) -> str:
        return f"<MultiServer {self._shown}>"


def _run(reactor: Reactor, reference: "weakref.ref[MultiServer]", begun: "Future[None]") -> None:
    """What the thread of a server does. While it waits it does not keep the server."""
    server = reference()
    assert server is not None, "start() waits, and keeps it"
    try:
        server._begin()
    except RuntimeError as error:
        begun.set_exception(error)
        return
    begun.set_result(None)
    shown = repr(server)
    del server
    try:
        reactor.serve(reference)
    except BaseException:
        log.critical("the thread of %s has failed; it closes the server", shown, exc_info=True)
    server = reference()
    if server is not None:
        server._end()


def _check_options(options: dict[str, Any]) -> None:
    check_stream(options)
    check_choice("relay", options["relay"], RELAYS)
    _check_relay_except(options["relay_except"], options["relay"])
    check_choice("slow_policy", options["slow_policy"], SLOW_POLICIES)
    check_seconds("slow_grace", options["slow_grace"])
    for name in ("idle_timeout", "heartbeat", "handler_timeout"):
        if options[name] is not None:
            check_period(name, options[name])
    check_count("connections_max", options["connections_max"], CONNECTIONS_MAX)
    _check_gap_notice(options)
    _check_log_bytes(options["log_bytes"], options["message_bytes_max"])
    _check_outbox_bytes(options["outbox_bytes_max"], options["message_bytes_max"])
    if options["heartbeat"] is not None and options["framing"] == "raw":
        raise ValueError("heartbeat is an empty message, which framing='raw' does not have")


def _check_relay_except(value: object, relay: str | None) -> None:
    if value is None:
        return
    if not isinstance(value, bytes):
        raise TypeError(f"relay_except must be None or bytes, not {value!r}")
    if not value:
        raise ValueError("relay_except must not be empty: every message begins with b''")
    if relay is None:
        raise ValueError(f"relay_except={value!r} needs relay='others' or relay='all'")


def _check_gap_notice(options: dict[str, Any]) -> None:
    value = options["gap_notice"]
    if value is None:
        return
    if not isinstance(value, bytes):
        raise TypeError(f"gap_notice must be None or bytes, not {value!r}")
    if options["framing"] == "raw":
        raise ValueError(
            "gap_notice is a message, which cannot be told in a stream with framing='raw'"
        )
    if not value or value.count(b"%") != value.count(b"%d") or value.count(b"%d") > 1:
        raise ValueError(f"gap_notice must have at most one %d and no other %, not {value!r}")
    if options["framing"] == "line" and (b"\n" in value or value.endswith(b"\r")):
        raise ValueError(f"gap_notice must be one line, without its end, not {value!r}")
    if len(value) > GAP_NOTICE_BYTES_MAX:
        raise ValueError(f"gap_notice has at most {GAP_NOTICE_BYTES_MAX} bytes, not {len(value)}")


def _check_log_bytes(log_bytes: int, message_bytes_max: int) -> None:
    check_count("log_bytes", log_bytes, 1 << 40)
    page = os.sysconf("SC_PAGESIZE")
    least = max(page, 4 * (message_bytes_max + 4))
    right = 1 << (max(least, log_bytes) - 1).bit_length()
    if log_bytes & (log_bytes - 1) or log_bytes < page:
        raise ValueError(
            f"log_bytes must be a power of two of at least {page}, such as {right}, not {log_bytes}"
        )
    if log_bytes < least:
        raise ValueError(
            f"log_bytes must be at least {least}, four times message_bytes_max ="
            f" {message_bytes_max} and its header, such as {right}, not {log_bytes}"
        )


def _check_outbox_bytes(outbox_bytes_max: int, message_bytes_max: int) -> None:
    least = message_bytes_max + EDIT_BYTES
    if outbox_bytes_max < least:
        raise ValueError(
            f"outbox_bytes_max must be at least {least}, message_bytes_max = {message_bytes_max}"
            f" and {EDIT_BYTES} for its keeping, not {outbox_bytes_max}"
        )
