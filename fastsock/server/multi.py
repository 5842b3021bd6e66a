"""One server, many clients: the lecture's algorithm 11-5 without its limits."""

import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar

from fastsock.core import address as addresses
from fastsock.core.closing import Closing
from fastsock.core.listening import Listening
from fastsock.core.options import check_callback, check_count, check_result, check_seconds, takes
from fastsock.errors import ConnectionClosed, LogFull, ServerClosed
from fastsock.server._config import CHANNELS_MAX
from fastsock.server._connection import Channel, Connection
from fastsock.server._engine import Engine, Reactor
from fastsock.server._events import Connected, Disconnected, Event, Gap
from fastsock.server.options import CONNECTIONS_MAX, ServerOptions, SlowPolicy, Tuning

__all__ = ["MultiServer"]

log = logging.getLogger("fastsock")

CLOSE_MARGIN = 5.0
"""Seconds beyond ``linger`` that close() waits for a thread that is busy in a handler."""

OnConnect = TypeVar("OnConnect", bound=Callable[[Connection], object])
OnMessage = TypeVar("OnMessage", bound=Callable[[Connection, bytes], object])
OnGap = TypeVar("OnGap", bound=Callable[[Connection, str, int], object])
OnDisconnect = TypeVar("OnDisconnect", bound=Callable[[Connection, str], object])


class MultiServer(Engine, Closing):
    """Serve any number of clients, and publish to all of them at the speed of C.

    ``address`` is ``(host, port)``, port 0 for any free one; a path for a UNIX socket; ``"@name"``
    for one in the abstract namespace, which has no file, and no permissions; or a list of those. A
    host name stands for all its addresses, at one port. The server binds and listens at once, at 64
    sockets at most. There are three ways to drive it, one at a time:

    - inline: ``for event in server`` or ``server.poll()``, in this thread;
    - handlers: ``@server.on_message`` and its like, then ``server.serve_forever()``;
    - ``server.start()``: a thread of its own, with or without handlers.

    A handler is a plain function. What it raises is logged to the ``fastsock`` logger and closes
    the connection that it was called for. ConnectionClosed and LogFull whose ``number`` is that of
    another connection are logged and close nothing.

    The options, all keyword-only, are the fields of
    :class:`fastsock.server.options.ServerOptions`, which says what each does.

    If this process has no descriptor left for a caller, the caller is closed at once:
    ``stats().refused`` counts it, and a line is logged.

    Raises ValueError or TypeError for an argument that cannot be, OSError that names the address
    that cannot be listened on; then nothing is open, and what was handed in is still the caller's.
    """

    _shown = "that is not open"
    _tuning: ClassVar[Tuning] = Tuning()

    @takes(ServerOptions)
    def __init__(self, options: ServerOptions) -> None:
        self._refuse_second_init("_options")
        self.framing = options.framing
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._channels: dict[str, Channel] = {}
        self._on_connect: Callable[[Connection], object] | None = None
        self._on_message: Callable[[Connection, bytes], object] | None = None
        self._on_gap: Callable[[Connection, str, int], object] | None = None
        self._on_disconnect: Callable[[Connection, str], object] | None = None
        self._options = options
        self._listening = listening = Listening(options)
        listening.hand_over(lambda fds: self._open(fds, listening.addresses, options, self._tuning))
        self._shown = addresses.show(self.address)

    # ---- Handlers ----

    def on_connect(self, handler: OnConnect) -> OnConnect:
        """Decorate ``handler(conn)``, which runs when a client has connected."""
        check_callback("the handler of on_connect", handler)
        self._on_connect = handler
        return handler

    def on_message(self, handler: OnMessage) -> OnMessage:
        """Decorate ``handler(conn, data)``, which runs for each message; ``data`` is bytes."""
        check_callback("the handler of on_message", handler)
        self._on_message = handler
        return handler

    def on_gap(self, handler: OnGap) -> OnGap:
        """Decorate ``handler(conn, channel, lost)``, which runs when a client has lost messages."""
        check_callback("the handler of on_gap", handler)
        self._on_gap = handler
        return handler

    def on_disconnect(self, handler: OnDisconnect) -> OnDisconnect:
        """Decorate ``handler(conn, reason)``, which runs when a connection has ended."""
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
        """Log it, and close the connection unless the error is about another one."""
        number = event.conn.number
        if isinstance(error, ConnectionClosed | LogFull) and error.number not in (None, number):
            log.exception("handler of connection %d failed because of %d", number, error.number)
            return
        log.exception("handler failed; closing connection %d", number)
        self._close_failed(event.conn)

    def _handler_raised(self, event: Event, error: BaseException) -> None:
        """Do as _handler_failed, but let an error that is no Exception end the program."""
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
        """Return the channel of that name, made at the first call: a log with its own subscribers.

        Options that are not given are the server's. Raises ValueError for options that cannot
        be, for any option if the channel exists already, and beyond 255 channels.
        """
        options = {"slow_policy": slow_policy, "slow_grace": slow_grace, "log_bytes": log_bytes}
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        if not isinstance(name, str) or not name:
            raise ValueError(f"name must be a str that is not empty, not {name!r}")
        self._require_open()
        merged = replace(self._options, **given)
        with self._lock:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._make_channel(name, merged)
            elif given:
                raise ValueError(f"channel {name!r} exists; its options cannot be changed")
            return channel

    def _make_channel(self, name: str, options: ServerOptions) -> Channel:
        if len(self._channels) == CHANNELS_MAX:
            raise ValueError(f"a server has at most {CHANNELS_MAX} channels; {name!r} is one more")
        channel = self._add_channel(
            name, options.log_bytes, options.slow_policy, options.slow_grace
        )
        self._channels[name] = channel
        return channel

    # ---- Driving ----

    def serve_forever(self) -> None:
        """Run the handlers in this thread until ``close()`` is called, by a handler or a thread.

        KeyboardInterrupt, SystemExit and other errors that are no Exception close the server, as
        ``close()`` does, and are raised then. Events that no handler has seen are kept for a loop
        over the server, or another ``serve_forever()``. Raises RuntimeError if another thread
        drives the server.
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
        """Run the server in a thread of its own; return the server, which must be kept: the thread
        ends when nothing refers to the server any more.

        All that a handler raises there, SystemExit included, is logged, and the thread goes on.
        Raises RuntimeError if the server is driven already, or no thread can be started,
        ServerClosed after ``close()``.
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
        """Make this thread, which begins, the driver. RuntimeError if there is one already."""
        self._claim()
        self._report_messages(self._on_message is not None)

    def _end(self) -> None:
        """Close the server, since its thread ends."""
        self._release()
        self.close()

    def close(
        self, *, linger: float | None = None, handle_input: bool = True, wait: bool = True
    ) -> None:
        """Stop listening and close every connection in an orderly way. Idempotent.

        What was published still goes out. A client that does not take it, or goes on sending, is
        cut off after ``linger`` seconds (None: the server's option). An event loop that drives the
        server passes ``linger=0``, which does not wait; remove ``fileno()`` from the loop first.

        A thread that drives the server still handles what clients have sent, and send until they
        end or are cut off, unless ``handle_input`` is false. It also accepts up to 256 callers that
        have connected already. Sending to them returns False. If nobody drives the server, this
        input is thrown away, and the kernel resets those callers; ``stats().bytes_unheard`` says
        how much was lost. With ``wait=False`` the method returns at once: a loop over the server,
        or ``serve_forever``, goes on with all this and ends when all connections have ended.

        In a forked child it does nothing. Returns when all connections have ended, except in a
        handler: then the serving thread ends them after it. Iteration goes on until every
        ``Disconnected`` is delivered.
        """
        if self._abandoned:
            return
        if linger is None:
            linger = float(self._options.linger)
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
        """Wait until at least ``count`` clients are connected.

        ``timeout`` is in seconds, None for no limit; TimeoutError says how many there are then.
        """
        self._refuse_in_handler("wait_connections")
        check_count("count", count, CONNECTIONS_MAX, least=0)
        if not self._wait_count(count, timeout):
            raise TimeoutError(
                f"{len(self.connections)} of {count} clients are connected after {timeout} s"
            )

    def drain(self, *, timeout: float | None = None) -> None:
        """Wait until all that was published and sent before is with the kernels of the clients.

        Connections that end during the wait no longer count. ``timeout`` is in seconds, None for no
        limit; TimeoutError says how much is still queued. Raises RuntimeError in a handler, which
        would wait for itself.
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
    """Serve, as the thread of a server. While it waits, it does not keep the server alive."""
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
