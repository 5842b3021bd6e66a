"""From events of the C engine to objects, and on to a loop or to handlers."""

from fastsock.core.options import check_result
from fastsock.server.reason import Reason

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport PyThread_get_thread_ident

from fastsock.server._connection cimport Channel, Connection
from fastsock.server._speaking cimport Speaking
from fastsock.core._convert cimport time_left
from fastsock._csrc cimport *
from fastsock.posix._syscall cimport timeout_ns
from fastsock.server._events cimport Connected, Disconnected, Event, Gap, Message


cdef dict REASON_OF = {
    FS_REASON_PEER: Reason.PEER,
    FS_REASON_RESET: Reason.RESET,
    FS_REASON_LOCAL: Reason.LOCAL,
    FS_REASON_SERVER: Reason.SERVER,
    FS_REASON_SLOW: Reason.SLOW,
    FS_REASON_TOO_BIG: Reason.TOO_BIG,
    FS_REASON_HANDLER: Reason.HANDLER,
    FS_REASON_MEMORY: Reason.MEMORY,
    FS_REASON_IDLE: Reason.IDLE,
    FS_REASON_UNFINISHED: Reason.UNFINISHED,
    FS_REASON_FRAMING: Reason.FRAMING,
}

# By their numbers in C.
REASONS = tuple([REASON_OF[i] for i in range(FS_REASON_COUNT)])
assert set(REASONS) == set(Reason)

cdef list NOTHING = []


@cython.no_gc_clear
cdef class Dispatch(Speaking):
    """Makes events of what turns return, and hands them to the one thread that drives the server."""

    def __cinit__(self):
        self.queued = []

    # ---- What the engine does ----

    cdef int require_open(self) except -1:
        """Raise RuntimeError in a forked child, and if no ``__init__`` has run."""
        raise NotImplementedError

    cdef bint ended(self) except -1:
        """Return whether the server is closed and every connection has ended."""
        raise NotImplementedError

    cdef list turn(self, int64_t timeout):
        """Run a turn that waits at most timeout nanoseconds (-1: no limit); return its events."""
        raise NotImplementedError

    cdef list turned(self, int count):
        """Return the events of a turn; count is what the reactor has returned for it."""
        raise NotImplementedError

    cdef int tell_refused(self) except -1:
        """Log how many callers were refused for want of descriptors. Call it while no event can be
        lost."""
        raise NotImplementedError

    # ---- Objects ----

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
        # The engine forgets it after this turn, and users ask for its address.
        conn._peer = conn.peer
        self.connections_by_number.pop(conn.number, None)
        self.recent = None
        conn.reason = REASONS[<int>event.reason]
        return Disconnected(conn, conn.reason)

    # ---- The queue ----

    cdef int keep(self, list events) except -1:
        """Queue events for the next call."""
        self.queued = events
        self.queued_at = 0
        return 0

    cdef list take_queued(self):
        """Return the queued events that are still news; the queue is empty then."""
        cdef list events = [event for event in self.queued[self.queued_at:] if is_news(event)]
        self.keep(NOTHING)
        return events

    cdef int handle_queued(self, on_message, on_other, on_failure) except -1:
        """Call on_message(conn, data), unless it is None, for each queued message, on_other(event)
        for each other event, and on_failure(event, error) if one of these raises.

        If on_failure raises, the events behind that one stay queued.
        """
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

    # ---- Driving ----

    cpdef int _claim(self) except -1:
        """Make this thread the driver. RuntimeError if there is one already."""
        cdef unsigned long me = PyThread_get_thread_ident()
        self.require_open()
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

    cdef list take_events(self, int64_t timeout):
        """Run turns until there are events or the time is over; queued events come first.

        If a signal handler raises, the events stay for the next call.
        """
        cdef uint64_t begun = fs_sys_now_ns() if timeout > 0 else 0
        cdef list events
        if self.queued_at < len(self.queued):
            events = self.turn(0)
            events = self.take_queued() + events
        else:
            events = self.turn(timeout)
            while not (events or time_left(timeout, begun) == 0 or self.ended()):
                events = self.turn(time_left(timeout, begun))
        try:
            PyErr_CheckSignals()
        except:
            self.keep(events)
            raise
        return events

    def _serve_turn(self, on_message, on_other, on_failure):
        """Run one turn and hand its events to the handlers, as handle_queued says."""
        self.keep(self.take_events(-1))
        self.handle_queued(on_message, on_other, on_failure)

    cdef bint handle_in_thread(self, int count) except -1:
        """Handle queued events, or those of a turn for which the reactor has returned count.

        Returns whether more may come.
        """
        if count != 0:
            self.keep(self.turned(count))
        self.tell_refused()
        self.handle_queued(self._on_message, self._handle_other, self._handler_failed)
        return not self.ended()

    def poll(self, *, timeout=None):
        """Wait until something has happened and return the events, a list.

        ``timeout`` is in seconds; None waits without limit, 0 takes what there is. The list is
        empty if the time is over first. Flushes what was published. Raises RuntimeError if another
        thread drives the server.
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
                if self.ended():
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
        return self.queued_at >= len(self.queued) and self.ended()
