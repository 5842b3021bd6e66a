"""The engine as a Python object: what a server does in C."""

import os

from fastsock.server._events import Reason
from fastsock.errors import ConnectionClosed, LogFull, SlowConsumer
from fastsock.core.forking import disown_in_children, foreign
from fastsock.core.options import check_result
from fastsock.core.refusals import Refusals
from fastsock.server.stats import ConnectionStats, ServerStats

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EINTR, ETIMEDOUT
from libc.stdlib cimport free, malloc

from fastsock.server._config cimport fill_config, ns_of, policy_name, policy_of
from fastsock.server._connection cimport Channel, Connection
from fastsock.core._convert cimport (
    addr_object,
    raise_code,
    refuse_data,
    time_left,
)
from fastsock._csrc cimport *
from fastsock.posix._syscall cimport check_given, timeout_ns, whole
from fastsock.server._events cimport Connected, Disconnected, Event, Gap, Message


# By fs_reason.
cdef tuple REASONS = tuple([Reason[fs_reactor_reason_name(<fs_reason>i).decode()]
                            for i in range(FS_REASON_COUNT)])

cdef list NOTHING = []


cdef inline bint is_news(Event event):
    """Whether it is told: what a connection has said is not, once this program has closed it."""
    return type(event) is not Message or not (<Connection>event.conn).closing


cdef int raise_unless_opened(int result) except -1:
    """Raises what has kept the engine from listening: a system call that is missing by its name."""
    cdef const char *lacking = fs_kernel_lacks()
    if lacking is not NULL:
        raise OSError(-result, f"a server needs {lacking.decode()}, and this kernel, or a seccomp"
                               f" profile, refuses it: {os.strerror(-result)}")
    raise_code(result, "listen")


@cython.final
cdef class Reactor:
    """The C engine of a server. The server and the thread that drives it share it, so that the
    thread does not keep the server; it is freed with the last of them."""

    def __dealloc__(self):
        if self.c is not NULL:
            fs_reactor_free(self.c)

    def _disown(self):
        """In a forked child: closes its copies of the descriptors. No memory is freed: a thread of
        the parent may have been changing it."""
        if self.c is not NULL:
            fs_reactor_abandon(self.c)
            self.c = NULL

    def serve(self, reference):
        """Serves until the server is closed, or dropped; ``reference`` is a weak one to it.

        Raises what a turn, or the logging of what a handler has raised, raises.
        """
        cdef Engine server = self.find(reference)
        cdef bint more
        cdef int count
        if self.c is NULL or server is None:
            raise RuntimeError("there is no server here to be served")
        more = server.handle_in_thread(0)
        while more:
            server = None
            with nogil:
                count = fs_reactor_drive(self.c, -1)
            server = self.find(reference)
            if server is None:
                self.end(count)
                return
            more = server.handle_in_thread(count)

    cdef object find(self, reference):
        """The server, or None if it was dropped: its destructor may still be running."""
        return None if self.dropped else reference()

    cdef void drop(self, bint driven) noexcept:
        """The server has gone. A driver ends now; without one, what the kernels take now goes out."""
        self.dropped = True
        if fs_reactor_ended(self.c):
            return
        fs_reactor_set_linger(self.c, 0)
        fs_reactor_close(self.c, False)
        if not driven:
            self.end(fs_reactor_drive(self.c, 0))

    cdef void end(self, int count) noexcept:
        """Turns until the reactor has ended, where a turn has said count."""
        while count > 0:
            fs_reactor_consumed(self.c)
            count = 0 if fs_reactor_ended(self.c) else fs_reactor_drive(self.c, 0)


# Its destructor needs the reactor. Cycles are broken where connections, channels and the attributes
# of MultiServer are cleared.
@cython.no_gc_clear
cdef class Engine:
    """What :class:`fastsock.MultiServer` is made of: one reactor and its connections."""

    def __cinit__(self):
        self.connections_by_number = {}
        self.channels = []
        self.queued = []

    def __dealloc__(self):
        self.end()

    def _drop(self):
        """As Closing says; once more it does nothing."""
        self.end()

    cdef void end(self) noexcept:
        if self.reactor is not NULL and not self.owned.dropped:
            self.closing = True
            self.owned.drop(self.driver != 0)

    def _open(self, list fds, tuple addresses, options):
        """Takes over sockets that listen at the addresses. The options are those of MultiServer and
        its flush_bytes, by name, checked by it."""
        cdef fs_config config
        cdef int listen_fds[FS_LISTENERS_MAX]
        cdef Reactor owned
        cdef int result
        cdef uint32_t count = min(len(fds), FS_LISTENERS_MAX)
        fill_config(&config, options)
        config.codec = &fs_codec_line
        if options["framing"] != "line":
            config.codec = &fs_codec_length if options["framing"] == "length" else &fs_codec_raw
        if options.get("gap_notice"):
            config.gap_notice.codec = config.codec
        self.options = options
        for i in range(count):
            listen_fds[i] = fds[i]
        owned = Reactor.__new__(Reactor)
        with nogil:
            result = fs_reactor_new(&owned.c, &config, listen_fds, count)
        if result < 0:
            raise_unless_opened(result)
        self.listening_at = addresses
        self.refusals = Refusals(addresses)
        fs_reactor_set_reporting(owned.c, True)
        self.owned = owned
        self.reactor = owned.c
        disown_in_children(owned)
        disown_in_children(self)

    cdef fs_reactor *live(self) except NULL:
        if self.reactor is NULL:
            if self.owned is None:
                raise RuntimeError("this server was made by __new__ alone: it listens nowhere")
            raise foreign("server")
        return self.reactor

    @property
    def _reactor(self):
        """What a thread serves with, without keeping the server."""
        return self.owned

    def _require_open(self):
        """RuntimeError in a forked child, and if no ``__init__`` has run."""
        self.live()

    def _disown(self):
        """In a forked child: closes its copies of the descriptors; the parent goes on."""
        if self.owned is not None:
            self.owned._disown()
        self.reactor = NULL
        self.driver = 0

    @property
    def _abandoned(self):
        """Whether there is nothing to close: it is a forked child's, or was never opened."""
        return self.reactor is NULL

    def _held(self):
        """What the server holds, in words; "" if it is closed."""
        if self.reactor is NULL or self.closing:
            return ""
        return "its port, connections and thread" if self.driver else "its port and connections"

    # ---- Driving ----

    cpdef int _claim(self) except -1:
        """Makes this thread the driver. RuntimeError where there is one."""
        cdef unsigned long me = PyThread_get_thread_ident()
        self.live()
        if self.driver != 0:
            raise RuntimeError("this thread drives the server already; a handler must not"
                               if self.driver == me else
                               "another thread drives the server; only one may")
        self.driver = me
        return 0

    def _release(self):
        self.driver = 0

    @property
    def _drives(self):
        """Whether the calling thread is the driver."""
        return self.driver == PyThread_get_thread_ident()

    @property
    def _driven(self):
        return self.driver != 0

    def _report_messages(self, report):
        fs_reactor_set_reporting(self.live(), report)

    cdef list turn(self, int64_t timeout):
        """Turns for at most timeout nanoseconds (-1: until something happens); their events."""
        cdef int count
        cdef fs_reactor *reactor = self.live()
        self.tell_refused()
        with nogil:
            count = fs_reactor_drive(reactor, timeout)
        return self.turned(count)

    cdef int tell_refused(self) except -1:
        """Tells the log of callers for whom no descriptor was left, where no event can be lost."""
        cdef uint64_t refused = fs_reactor_counters(self.reactor).refused
        if refused != self.refused:
            self.refused = refused
            self.refusals.tell(self.refused)
        return 0

    cdef list turned(self, int count):
        """The events of a turn of which the reactor has said count."""
        cdef Event event
        cdef list events
        cdef bint flush = False
        cdef fs_reactor *reactor = self.reactor
        cdef const fs_event *occurred = fs_reactor_events(reactor)
        if count <= 0:
            if count < 0 and count != -EINTR:
                raise_code(count, "poll")
            PyErr_CheckSignals()
            return []
        events = []
        try:
            for i in range(count):
                event = self.event_object(&occurred[i])
                if is_news(event):
                    events.append(event)
            return events
        finally:
            flush = fs_reactor_consumed(reactor)
            if flush:
                with nogil:
                    fs_reactor_catch_up(reactor)

    cdef Event event_object(self, const fs_event *event):
        cdef Connection conn
        cdef Message message
        if event.kind == FS_MESSAGE:
            message = Message.__new__(Message)
            message.conn = self.connection_of(event.handle, event.number)
            message.detail = PyBytes_FromStringAndSize(<const char *>event.message.data,
                                                       event.message.len)
            return message
        conn = self.connection_of(event.handle, event.number)
        if event.kind == FS_CONNECTED:
            return Connected(conn)
        if event.kind == FS_GAP:
            name = (<Channel>self.channels[event.channel - 1]).name if event.channel else ""
            return Gap(conn, name, event.lost)
        # Its record goes after this turn, and users ask who it was.
        conn._peer = conn.peer
        self.connections_by_number.pop(conn.number, None)
        self.recent = None
        conn.reason = REASONS[<int>event.reason]
        return Disconnected(conn, conn.reason)

    cdef Connection connection_of(self, uint64_t handle, uint64_t number):
        cdef Connection made
        # Messages come in runs from one connection.
        if self.recent is not None and self.recent.number == number:
            return self.recent
        conn = self.connections_by_number.get(number)
        if conn is None:
            made = Connection.__new__(Connection)
            made.engine = self
            made.handle = handle
            made.number = number
            # Another thread may have made it meanwhile: one connection is one object.
            conn = self.connections_by_number.setdefault(number, made)
        self.recent = <Connection>conn
        return self.recent

    cdef list take_events(self, int64_t timeout):
        """Turns until there are events or the time is over; what was queued comes first.

        If a signal handler raises, the events stay for the next call.
        """
        cdef uint64_t begun = fs_sys_now_ns() if timeout > 0 else 0
        cdef list events
        if self.queued_at < len(self.queued):
            events = self.turn(0)
            events = [event for event in self.queued[self.queued_at:] if is_news(event)] + events
            self.keep(NOTHING)
        else:
            events = self.turn(timeout)
            while not (events or time_left(timeout, begun) == 0 or fs_reactor_ended(self.reactor)):
                events = self.turn(time_left(timeout, begun))
        try:
            PyErr_CheckSignals()
        except:
            self.keep(events)
            raise
        return events

    cdef int keep(self, list events) except -1:
        """Queues events for the next call."""
        self.queued = events
        self.queued_at = 0
        return 0

    def _serve_turn(self, on_message, on_other, on_failure):
        """One turn: on_message(conn, data), unless it is None, gets each message, on_other(event)
        each other event, and on_failure(event, error) those whose handler has raised.

        Where on_failure raises, the events behind that one stay queued.
        """
        self.keep(self.take_events(-1))
        self.handle_queued(on_message, on_other, on_failure)

    cdef bint handle_in_thread(self, int count) except -1:
        """Handles the events of a turn of which the reactor has said count, behind those that were
        queued before. Whether more may come."""
        if count != 0:
            self.keep(self.turned(count))
        self.tell_refused()
        self.handle_queued(self._on_message, self._handle_other, self._handler_failed)
        return not fs_reactor_ended(self.live())

    cdef int handle_queued(self, on_message, on_other, on_failure) except -1:
        cdef Event event
        while self.queued_at < len(self.queued):
            event = self.queued[self.queued_at]
            self.queued_at += 1
            if not is_news(event):
                continue
            try:
                if type(event) is not Message:
                    on_other(event)
                elif on_message is not None:
                    result = on_message(event.conn, event.detail)
                    if result is not None:
                        check_result(on_message, result)
            except BaseException as error:
                on_failure(event, error)
        self.queued = []
        self.queued_at = 0
        return 0

    def poll(self, *, timeout=None):
        """Waits until something has happened and returns the events, a list.

        ``timeout`` is in seconds, None for ever, 0 to take what there is; then the list may be
        empty. What was published is flushed meanwhile. Raises RuntimeError where another thread
        drives the server.
        """
        return self.poll_events(timeout_ns(timeout))

    cdef list poll_events(self, int64_t timeout):
        self._claim()
        try:
            return self.take_events(timeout)
        finally:
            self.driver = 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef Event event
        while True:
            while self.queued_at >= len(self.queued):
                if fs_reactor_ended(self.live()):
                    raise StopIteration
                self.queued = self.poll_events(-1)
                self.queued_at = 0
            event = self.queued[self.queued_at]
            self.queued_at += 1
            if is_news(event):
                return event

    @property
    def _closed(self):
        """Whether the server is closed and every connection has ended and was reported."""
        return self.queued_at >= len(self.queued) and fs_reactor_ended(self.live())

    def _close(self, linger, hearing):
        """Begins to close; connections that have not ended after linger seconds are cut off."""
        fs_reactor_set_linger(self.live(), ns_of(linger))
        fs_reactor_close(self.live(), hearing)
        self.closing = True

    # ---- Publishing ----

    def broadcast(self, data, *, Connection exclude=None, timeout=None):
        """Publishes one message to every client, but for the connection ``exclude``.

        data: bytes-like, of at most ``message_bytes_max`` bytes. Returns its sequence number.
        Any thread may call it. A server that has no thread of its own flushes when 64 KiB wait,
        and at the next ``poll`` or ``flush``. Where the log is full, waits until there is room,
        for at most ``timeout`` seconds (None: as long as it takes).

        Raises MessageTooBig, ValueError for a newline inside a line, LogFull when the time is
        over and nothing was published, ServerClosed.
        """
        check_given(timeout)
        return self.publish(0, data, exclude, timeout)

    cdef object publish(self, uint32_t channel, data, Connection exclude, timeout):
        cdef Py_buffer view
        if type(data) is bytes:
            return self.publish_bytes(channel, <const uint8_t *>PyBytes_AS_STRING(data),
                                      PyBytes_GET_SIZE(data), exclude, timeout)
        if not PyObject_CheckBuffer(data):
            refuse_data(data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.publish_bytes(channel, <const uint8_t *>view.buf, view.len, exclude,
                                      timeout)
        finally:
            PyBuffer_Release(&view)

    cdef object publish_bytes(self, uint32_t channel, const uint8_t *data, size_t size,
                              Connection exclude, timeout):
        cdef uint64_t seq = 0, handle = 0, begun = 0
        cdef int result
        cdef fs_reactor *reactor = self.live()
        if exclude is not None:
            handle = exclude.handle
            if exclude.engine is not self:
                raise ValueError(f"exclude is a connection of another server: {exclude!r}")
        while True:
            result = fs_reactor_publish(reactor, channel, data, size, handle, &seq)
            if result == 0:
                return seq
            if result == 1:
                with nogil:
                    fs_reactor_flush(reactor)
                return seq
            if result != FS_EFULL and result != FS_EOUTBOX:
                raise_code(result, f"a message of {size} bytes")
            self.make_room(channel, size, exclude, timeout, result, &begun)

    cdef int make_room(self, uint32_t channel, size_t size, Connection conn, timeout, int full,
                       uint64_t *begun) except -1:
        """Waits for room in a log, and in the outbox of conn, where the engine has said full.

        begun is when the first of the caller's waits began, set if it is 0: they share timeout.
        """
        cdef fs_waiter waiter
        cdef uint64_t handle = 0 if conn is None else conn.handle
        cdef bint in_handler = timeout is None and self.driver == PyThread_get_thread_ident()
        if in_handler:
            timeout = self.options["handler_timeout"]
        if begun[0] == 0:
            begun[0] = fs_sys_now_ns()
        fs_reactor_prepare_room(self.live(), &waiter, channel, size, handle)
        if not self.await_met(&waiter, timeout_ns(timeout), begun[0]):
            within = f"{timeout} s, the handler_timeout" if in_handler else f"{timeout} s"
            self.raise_full(f"no room for a message of {size} bytes within {within}", channel,
                            conn if full == FS_EOUTBOX else None)
        return 0

    cdef int raise_full(self, str what, uint32_t channel, Connection conn) except -1:
        """Raises LogFull that names the limit and the client in the way: conn, whose outbox is
        full, or, if that is None, the one that is behind most in the channel's log."""
        cdef fs_slowest last
        if conn is not None:
            raise LogFull(f"{what}: outbox_bytes_max = {self.options['outbox_bytes_max']} wait for"
                          f" connection {conn.number} {conn.peer!r}", conn.number)
        if fs_reactor_slowest(self.live(), channel, &last) < 0:
            raise LogFull(what)
        log = f"channel {(<Channel>self.channels[channel - 1]).name!r}" if channel else "the server"
        policy = policy_name(last.policy)
        raise LogFull(f"{what}: the log of {log} (log_bytes = {last.log_bytes}, slow_policy ="
                      f" {policy!r}) is full, connection {last.number}"
                      f" {self.peer_of(last.handle)!r} has still to take {last.lag_bytes} bytes",
                      last.number)

    def broadcast_many(self, messages, *, timeout=None):
        """Publishes the messages of an iterable, in order, under one lock where there is room.

        Returns the sequence number of the last one, or None where there was none. All are checked
        before the first is published. Raises as ``broadcast`` does; LogFull says how many were
        published by then.
        """
        check_given(timeout)
        return self.publish_many(0, messages, timeout)

    cdef object publish_many(self, uint32_t channel, messages, timeout):
        cdef list views = []
        cdef fs_outgoing *outgoing
        cdef size_t count
        cdef const unsigned char[::1] view
        for message in messages:
            if not PyObject_CheckBuffer(message):
                refuse_data(message)
            views.append(memoryview(message).cast("B"))
        count = len(views)
        if count == 0:
            return None
        outgoing = <fs_outgoing *>malloc(count * sizeof(fs_outgoing))
        if outgoing is NULL:
            raise MemoryError
        try:
            for i in range(count):
                view = views[i]
                outgoing[i].message.len = view.shape[0]
                outgoing[i].message.data = &view[0] if view.shape[0] else NULL
            return self.publish_outgoing(channel, outgoing, count, timeout)
        finally:
            free(outgoing)

    cdef object publish_outgoing(self, uint32_t channel, fs_outgoing *outgoing, size_t count,
                                 timeout):
        cdef fs_reactor *reactor = self.live()
        cdef size_t done = 0, wrong = 0
        cdef uint64_t seq = 0, begun = 0
        cdef int result = fs_reactor_measure(reactor, outgoing, count, &wrong)
        if result < 0:
            raise_code(result, f"message {wrong} of {outgoing[wrong].message.len} bytes")
        while done < count:
            result = fs_reactor_publish_many(reactor, channel, outgoing + done, count - done, &seq)
            if result < 0:
                raise_code(result, "broadcast_many")
            done += result
            if done == count:
                break
            try:
                self.make_room(channel, outgoing[done].message.len, None, timeout, FS_EFULL, &begun)
            except LogFull as error:
                raise LogFull(f"{error}; {done} of {count} messages were published",
                              error.number) from None
        if fs_reactor_flush_due(reactor, channel):
            self.flush()
        return seq

    # ---- Channels ----

    def _add_channel(self, str name, log_bytes, slow_policy, slow_grace):
        """Makes a channel; its options are those of MultiServer, checked by it."""
        cdef int number = fs_reactor_add_channel(self.live(), log_bytes, policy_of(slow_policy),
                                                 ns_of(slow_grace))
        if number < 0:
            raise_code(number, f"channel {name!r}")
        cdef Channel channel = Channel.__new__(Channel)
        channel.engine = self
        channel.number = number
        channel.name = name
        self.channels.append(channel)
        return channel

    cdef bint subscribe(self, Channel channel, Connection conn, timeout) except -1:
        cdef uint64_t begun = 0
        cdef int result
        self.check_own(conn)
        while True:
            result = fs_reactor_subscribe(self.live(), channel.number, conn.handle)
            if result != FS_EOUTBOX:
                return self.check_subscribed(channel, result)
            self.make_room(channel.number, 0, conn, timeout, result, &begun)

    cdef bint unsubscribe(self, Channel channel, Connection conn) except -1:
        self.check_own(conn)
        return self.check_subscribed(
            channel, fs_reactor_unsubscribe(self.live(), channel.number, conn.handle))

    cdef int check_own(self, Connection conn) except -1:
        if conn.engine is not self:
            raise ValueError(f"{conn!r} is a connection of another server")
        return 0

    cdef bint check_subscribed(self, Channel channel, int result) except -1:
        """Whether it was done: not when the connection has ended."""
        if result == FS_EGONE:
            return False
        if result < 0:
            raise_code(result, f"channel {channel.name!r}")
        return True

    # ---- Single connections ----

    def send(self, conn, data, *, timeout=None):
        """Queues one message for one client: a Connection, or its number.

        As ``Connection.send``: returns False when the connection has ended, or no open connection
        has the number. It comes behind all that was published before.
        """
        check_given(timeout)
        if not isinstance(conn, Connection):
            conn = self.find(conn)
            if conn is None:
                return False
        return self.send_to(<Connection>conn, data, timeout)

    def connection(self, number):
        """The open connection of that number. Raises ConnectionClosed where there is none."""
        conn = self.find(number)
        if conn is None:
            raise ConnectionClosed(f"no connection has the number {number}", "local", number)
        return conn

    cdef object find(self, number):
        """The connection of that number, also if its event has not been made yet; or None."""
        if not isinstance(number, int):
            number = whole("number", number)
        conn = self.connections_by_number.get(number)
        if conn is None:
            return next((one for one in self.connections if one.number == number), None)
        return conn

    cdef bint send_to(self, Connection conn, object data, timeout) except -1:
        """Whether it was queued: not when the connection has ended."""
        cdef Py_buffer view
        cdef uint64_t begun = 0
        cdef int result
        cdef fs_reactor *reactor = self.live()
        self.check_own(conn)
        if not PyObject_CheckBuffer(data):
            refuse_data(data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while True:
                result = fs_reactor_send(reactor, conn.handle, <const uint8_t *>view.buf,
                                         view.len)
                if result == 0:
                    return True
                if result == 1:
                    with nogil:
                        fs_reactor_catch_up(reactor)
                    return True
                if result == FS_EGONE:
                    return False
                if result != FS_EOUTBOX:
                    raise_code(result, f"a message of {view.len} bytes")
                self.make_room(FS_NO_LOG, view.len, conn, timeout, result, &begun)
        finally:
            PyBuffer_Release(&view)

    cdef int raise_ended(self, Connection conn) except -1:
        cdef int reason = fs_reactor_reason(self.live(), conn.handle)
        why = conn.reason or (REASONS[reason] if reason >= 0 else Reason.LOCAL)
        error = SlowConsumer if why is Reason.SLOW else ConnectionClosed
        by = "peer" if why in (Reason.PEER, Reason.RESET, Reason.UNFINISHED) else "local"
        raise error(f"connection {conn.number} has ended: {why}", by, conn.number)

    def flush(self):
        """Hands the kernel, for every client, all that it takes now. Never waits.

        A started server flushes by itself.
        """
        cdef fs_reactor *reactor = self.live()
        with nogil:
            fs_reactor_flush(reactor)

    cdef int close_one(self, Connection conn) except -1:
        conn.closing = True
        fs_reactor_close_conn(self.live(), conn.handle, FS_REASON_LOCAL)
        return 0

    def _trust(self, Connection conn not None):
        """From now on the connection may send messages of message_bytes_max."""
        fs_reactor_trust(self.live(), conn.handle)

    def _close_failed(self, Connection conn not None):
        """Closes a connection whose handler has raised."""
        conn.closing = True
        fs_reactor_close_conn(self.live(), conn.handle, FS_REASON_HANDLER)

    # ---- Waiting ----

    def _wait(self, fs_wait_kind kind, uint32_t count, timeout):
        """Waits for FS_WAIT_DRAIN, FS_WAIT_COUNT or FS_WAIT_CLOSED; False when time is over.

        While nobody drives the reactor it does what is waited for, and no more: what arrives stays
        in the kernel.
        """
        cdef fs_waiter waiter
        fs_reactor_prepare(self.live(), &waiter, kind)
        waiter.count = count
        return self.await_met(&waiter, timeout_ns(timeout), fs_sys_now_ns())

    cdef bint await_met(self, fs_waiter *waiter, int64_t limit, uint64_t begun) except -1:
        """Whether what the waiter waits for came true within limit. Signal handlers run."""
        cdef int result
        cdef int64_t left
        cdef fs_reactor *reactor = self.live()
        while True:
            left = time_left(limit, begun)
            with nogil:
                result = fs_reactor_wait(reactor, waiter, left)
            if result >= 0:
                return True
            if result == -ETIMEDOUT:
                return False
            if result != -EINTR:
                raise_code(result, "wait")
            PyErr_CheckSignals()

    def _wait_drained(self, timeout):
        return self._wait(FS_WAIT_DRAIN, 0, timeout)

    def _wait_count(self, count, timeout):
        return self._wait(FS_WAIT_COUNT, count, timeout)

    def _wait_closed(self, timeout):
        return self._wait(FS_WAIT_CLOSED, 0, timeout)

    # ---- Looking ----

    @property
    def address(self):
        """Where the server listens: ``(host, port)`` with the real port, a path, or ``"@name"``; the
        first of ``addresses``."""
        return self.addresses[0]

    @property
    def addresses(self):
        """All addresses at which the server listens, a tuple."""
        self.live()
        return self.listening_at

    def fileno(self):
        """A descriptor that is readable while ``poll(timeout=0)`` has something to do; -1 once
        the server is closed.

        With it another event loop drives the server:
        ``loop.add_reader(server.fileno(), on_ready)``, where ``on_ready`` polls.
        """
        return fs_reactor_embed(self.live())

    @property
    def connections(self):
        """The open connections, a tuple in the order of their numbers."""
        cdef uint32_t count = 0, cap
        cdef uint64_t *handles
        while True:
            cap = count + 16
            handles = <uint64_t *>malloc(2 * cap * sizeof(uint64_t))
            if handles is NULL:
                raise MemoryError
            try:
                count = fs_reactor_open_handles(self.live(), handles, handles + cap, cap)
                if count <= cap:
                    return tuple([self.connection_of(handles[i], handles[cap + i])
                                  for i in range(count)])
            finally:
                free(handles)

    cdef object peer_of(self, uint64_t handle):
        cdef fs_addr peer
        if fs_reactor_peer(self.live(), handle, &peer) < 0:
            return ""
        return addr_object(&peer)

    cdef object local_of(self, Connection conn):
        cdef fs_addr local
        cdef int result = fs_reactor_local(self.live(), conn.handle, &local)
        if result == FS_EGONE:
            self.raise_ended(conn)
        if result < 0:
            raise_code(result, "getsockname")
        return addr_object(&local)

    cdef object connection_stats(self, Connection conn):
        cdef fs_conn_stats stats
        cdef int result = fs_reactor_conn_stats(self.live(), conn.handle, &stats)
        if result < 0:
            self.raise_ended(conn)
        return ConnectionStats(
            number=stats.number, peer=conn.peer, age=stats.age_ns / 1e9, idle=stats.idle_ns / 1e9,
            bytes_sent=stats.bytes_sent, bytes_received=stats.bytes_received,
            messages_sent=stats.messages_sent, messages_received=stats.messages_received,
            lag_bytes=stats.lag_bytes, lag_messages=stats.lag_messages,
            outbox_bytes=stats.outbox_bytes, dropped=stats.dropped)

    def stats(self):
        """Figures of the server and each of its connections, as :class:`fastsock.ServerStats`."""
        cdef const fs_counters *counters = fs_reactor_counters(self.live())
        cdef fs_totals totals
        fs_reactor_totals(self.reactor, &totals)
        per_connection = []
        for conn in self.connections:
            try:
                per_connection.append(conn.stats())
            except ConnectionClosed:
                continue
        return ServerStats(
            connections=tuple(per_connection),
            accepted=counters.accepted, accept_errors=counters.accept_errors,
            refused=counters.refused,
            messages_published=totals.messages_published,
            bytes_published=totals.bytes_published,
            deliveries=totals.deliveries, dropped=counters.dropped,
            messages_received=counters.messages_received,
            messages_unfinished=counters.unfinished,
            bytes_unheard=counters.unheard,
            bytes_sent=counters.bytes_sent, bytes_received=counters.bytes_received,
            queued_bytes=totals.queued_bytes,
            sends=counters.sends, turns=counters.turns, wakeups=counters.wakeups,
            ended={REASONS[i]: counters.ended[i] for i in range(len(REASONS))
                   if counters.ended[i]})
