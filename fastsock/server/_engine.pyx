"""One server in C: its calls, waits and turns."""

import os

from fastsock.errors import ConnectionClosed, LogFull
from fastsock.core.forking import disown_in_children, foreign
from fastsock.core.refusals import Refusals

cimport cython
from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EINTR, ETIMEDOUT
from libc.stdlib cimport free, malloc

from fastsock.server._config cimport fill_config, ns_of, policy_of
from fastsock.server._connection cimport Channel, Connection
from fastsock.core._convert cimport (
    addr_object,
    raise_code,
    refuse_data,
    time_left,
)
from fastsock.core._framing cimport codec_of
from fastsock._csrc cimport *
from fastsock.posix._syscall cimport timeout_ns
from fastsock.server._dispatch cimport Dispatch, is_news
from fastsock.server._events cimport Event
from fastsock.server._figures cimport figures_of_connection, figures_of_server
from fastsock.server._refusing cimport refuse_ended, refuse_for_log, refuse_for_outbox
from fastsock.server._batch cimport Batch

# A signal that comes while a turn sends, or to another thread, does not end the turn's wait: so
# often a driver looks whether one has come.
cdef int64_t SIGNAL_NS = 200_000_000


cdef int raise_unless_opened(int result) except -1:
    """Raise what kept the engine from listening; names a system call that is missing."""
    cdef const char *lacking = fs_kernel_lacks()
    if lacking is not NULL:
        raise OSError(-result, f"a server needs {lacking.decode()}, and this kernel, or a seccomp"
                               f" profile, refuses it: {os.strerror(-result)}")
    raise_code(result, "listen")


@cython.final
cdef class Reactor:
    """The C engine of a server. The server and the thread that drives it share it, so that the
    thread does not keep the server alive; the last of them frees it."""

    def __dealloc__(self):
        if self.c is not NULL:
            fs_reactor_free(self.c)

    def _disown(self):
        """Close a forked child's copies of the descriptors. Frees no memory: a thread of the parent
        may have been changing it."""
        if self.c is not NULL:
            fs_reactor_abandon(self.c)
            self.c = NULL

    def serve(self, reference):
        """Serve until the server is closed or dropped; ``reference`` is a weak one to it.

        Raises what a turn raises, or the logging of a handler's error.
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
        """Return the server, or None if it was dropped: its destructor may still be running."""
        return None if self.dropped else reference()

    cdef void drop(self, bint driven) noexcept:
        """End, since the server has gone. Without a driver, what the kernels take now goes out."""
        self.dropped = True
        if fs_reactor_ended(self.c):
            return
        fs_reactor_set_linger(self.c, 0)
        fs_reactor_close(self.c, False)
        if not driven:
            self.end(fs_reactor_drive(self.c, 0))

    cdef void end(self, int count) noexcept:
        """Run turns until the reactor has ended; the last turn has returned count."""
        while count > 0:
            fs_reactor_consumed(self.c)
            count = 0 if fs_reactor_ended(self.c) else fs_reactor_drive(self.c, 0)


# Its destructor needs the reactor. Cycles are broken where connections, channels and the attributes
# of MultiServer are cleared.
@cython.no_gc_clear
cdef class Engine(Dispatch):
    """What :class:`fastsock.MultiServer` is made of: one reactor and its connections."""

    def __dealloc__(self):
        self.end()

    def _drop(self):
        """Free what the server holds: see Closing. Idempotent."""
        self.end()

    cdef void end(self) noexcept:
        if self.reactor is not NULL and not self.owned.dropped:
            self.closing = True
            self.owned.drop(self.driver != 0)

    def _open(self, list fds, tuple addresses, options, tuning):
        """Take over sockets that listen at the addresses.

        options: a ServerOptions; tuning: a Tuning. OSError if the kernel cannot serve them.
        """
        cdef fs_config config
        cdef int listen_fds[FS_LISTENERS_MAX]
        cdef Reactor owned
        cdef int result
        cdef uint32_t count = min(len(fds), FS_LISTENERS_MAX)
        fill_config(&config, options, tuning)
        config.codec = codec_of(options.framing)
        if options.gap_notice:
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
        """What a thread serves with, without keeping the server alive."""
        return self.owned

    def _require_open(self):
        """Raise RuntimeError in a forked child, and if no ``__init__`` has run."""
        self.live()

    def _disown(self):
        """Close a forked child's copies of the descriptors; the parent goes on."""
        if self.owned is not None:
            self.owned._disown()
        self.reactor = NULL
        self.driver = 0

    @property
    def _abandoned(self):
        """Whether there is nothing to close: this is a forked child, or it was never opened."""
        return self.reactor is NULL

    def _held(self):
        """Return in words what the server holds; "" if it is closed."""
        if self.reactor is NULL or self.closing:
            return ""
        return "its port, connections and thread" if self.driver else "its port and connections"

    # ---- Driving ----

    cdef int require_open(self) except -1:
        self.live()
        return 0

    cdef bint ended(self) except -1:
        return fs_reactor_ended(self.live())

    def _report_messages(self, report):
        fs_reactor_set_reporting(self.live(), report)

    cdef list turn(self, int64_t timeout):
        """Run a turn that waits at most timeout nanoseconds (-1: no limit), and SIGNAL_NS; return
        its events."""
        cdef int count
        cdef fs_reactor *reactor = self.live()
        if timeout < 0 or timeout > SIGNAL_NS:
            timeout = SIGNAL_NS
        self.tell_refused()
        with nogil:
            count = fs_reactor_drive(reactor, timeout)
        return self.turned(count)

    cdef int tell_refused(self) except -1:
        """Log how many callers were refused for want of descriptors. Call it while no event can be lost."""
        cdef uint64_t refused = fs_reactor_counters(self.reactor).refused
        if refused != self.refused:
            self.refused = refused
            self.refusals.tell(self.refused)
        return 0

    cdef list turned(self, int count):
        """Return the events of a turn; count is what the reactor has returned for it."""
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

    def _close(self, linger, hearing):
        """Begin to close; connections that have not ended after linger seconds are cut off."""
        fs_reactor_set_linger(self.live(), ns_of(linger))
        fs_reactor_close(self.live(), hearing)
        self.closing = True

    # ---- Publishing ----

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
        """Wait for room in a log, or in the outbox of conn: full is the engine's code for which.

        *begun is when the caller's first wait began, set if it is 0: all its waits share timeout.
        """
        cdef fs_waiter waiter
        cdef uint64_t handle = 0 if conn is None else conn.handle
        cdef bint in_handler = timeout is None and self.driver == PyThread_get_thread_ident()
        if in_handler:
            timeout = self.options.handler_timeout
        if begun[0] == 0:
            begun[0] = fs_sys_now_ns()
        fs_reactor_prepare_room(self.live(), &waiter, channel, size, handle)
        if not self.await_met(&waiter, timeout_ns(timeout), begun[0]):
            within = f"{timeout} s, the handler_timeout" if in_handler else f"{timeout} s"
            self.raise_full(f"no room for a message of {size} bytes within {within}", channel,
                            conn if full == FS_EOUTBOX else None)
        return 0

    cdef int raise_full(self, str what, uint32_t channel, Connection conn) except -1:
        """Raise LogFull that names the limit and the client in the way: conn, whose outbox is
        full, or, if that is None, the one that is farthest behind in the channel's log."""
        cdef fs_slowest last
        if conn is not None:
            refuse_for_outbox(what, self.options, conn)
        if fs_reactor_slowest(self.live(), channel, &last) < 0:
            raise LogFull(what)
        log = f"channel {(<Channel>self.channels[channel - 1]).name!r}" if channel else "the server"
        refuse_for_log(what, log, &last, self.peer_of(last.handle))

    cdef object publish_many(self, uint32_t channel, messages, timeout):
        cdef Batch batch = Batch(messages)
        cdef fs_reactor *reactor = self.live()
        cdef size_t done = 0, wrong = 0
        cdef uint64_t seq = 0, begun = 0
        cdef int result
        if batch.count == 0:
            return None
        result = fs_reactor_measure(reactor, batch.all, batch.count, &wrong)
        if result < 0:
            raise_code(result, f"message {wrong} of {batch.all[wrong].message.len} bytes")
        while True:
            result = fs_reactor_publish_many(reactor, channel, batch.all + done,
                                             batch.count - done, &seq)
            if result < 0:
                raise_code(result, "broadcast_many")
            done += result
            if done == batch.count:
                break
            try:
                self.make_room(channel, batch.all[done].message.len, None, timeout, FS_EFULL, &begun)
            except LogFull as error:
                raise LogFull(f"{error}; {done} of {batch.count} messages were published",
                              error.number) from None
        if fs_reactor_flush_due(reactor, channel):
            self.flush()
        return seq

    # ---- Channels ----

    def _add_channel(self, str name, log_bytes, slow_policy, slow_grace):
        """Make a channel; its options are those of a ServerOptions."""
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
        """Return whether it was done: not if the connection has ended."""
        if result == FS_EGONE:
            return False
        if result < 0:
            raise_code(result, f"channel {channel.name!r}")
        return True

    # ---- Single connections ----

    cdef bint send_to(self, Connection conn, object data, timeout) except -1:
        """Return whether it was queued: not if the connection has ended."""
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

    def flush(self):
        """Hand the kernel all that it takes now, for every client. Never waits.

        A started server flushes by itself.
        """
        cdef fs_reactor *reactor = self.live()
        with nogil:
            fs_reactor_flush(reactor)

    cdef int close_one(self, Connection conn) except -1:
        conn.closing = True
        fs_reactor_close_conn(self.live(), conn.handle, FS_REASON_LOCAL)
        return 0

    cdef int trust(self, Connection conn) except -1:
        fs_reactor_trust(self.live(), conn.handle)
        return 0

    def _close_failed(self, Connection conn not None):
        """Close a connection whose handler has raised."""
        conn.closing = True
        fs_reactor_close_conn(self.live(), conn.handle, FS_REASON_HANDLER)

    # ---- Waiting ----

    def _wait(self, fs_wait_kind kind, uint32_t count, timeout):
        """Wait for FS_WAIT_DRAIN, FS_WAIT_COUNT or FS_WAIT_CLOSED; False when the time is over.

        While nobody drives the reactor, this call does what it waits for and no more: input stays
        in the kernel.
        """
        cdef fs_waiter waiter
        fs_reactor_prepare(self.live(), &waiter, kind)
        waiter.count = count
        return self.await_met(&waiter, timeout_ns(timeout), fs_sys_now_ns())

    cdef bint await_met(self, fs_waiter *waiter, int64_t limit, uint64_t begun) except -1:
        """Return whether what the waiter waits for came true within limit. Signal handlers run."""
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
        """Return a descriptor that is readable while ``poll(timeout=0)`` has something to do; -1
        once the server is closed.

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

    cdef int raise_ended(self, Connection conn) except -1:
        refuse_ended(conn, fs_reactor_reason(self.live(), conn.handle))

    cdef object connection_stats(self, Connection conn):
        cdef fs_conn_stats stats
        if fs_reactor_conn_stats(self.live(), conn.handle, &stats) < 0:
            self.raise_ended(conn)
        return figures_of_connection(&stats, conn.peer)

    def stats(self):
        """Return the figures of the server and its connections, a :class:`fastsock.ServerStats`."""
        cdef const fs_counters *counters = fs_reactor_counters(self.live())
        cdef fs_totals totals
        fs_reactor_totals(self.reactor, &totals)
        per_connection = []
        for conn in self.connections:
            try:
                per_connection.append(conn.stats())
            except ConnectionClosed:
                continue
        return figures_of_server(counters, &totals, tuple(per_connection))
