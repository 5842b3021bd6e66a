from fastsock.server._connection cimport Channel, Connection
from fastsock._csrc cimport *
from fastsock.server._events cimport Event


cdef class Reactor:
    cdef fs_reactor *c  # NULL in a forked child
    cdef object __weakref__
    cdef bint dropped

    cdef object find(self, reference)
    cdef void drop(self, bint driven) noexcept
    cdef void end(self, int count) noexcept


cdef class Engine:
    cdef Reactor owned  # None until it is opened
    cdef fs_reactor *reactor  # that of owned; NULL in a forked child
    cdef object __weakref__
    cdef dict connections_by_number
    cdef Connection recent
    cdef list channels
    cdef list queued
    cdef object refusals
    cdef uint64_t refused
    cdef tuple listening_at
    cdef dict options  # the reactor looks at the bytes of relay_except
    cdef Py_ssize_t queued_at
    cdef unsigned long driver
    cdef bint closing

    cdef void end(self) noexcept
    cdef fs_reactor *live(self) except NULL
    cpdef int _claim(self) except -1
    cdef list turn(self, int64_t timeout)
    cdef int tell_refused(self) except -1
    cdef list turned(self, int count)
    cdef bint handle_in_thread(self, int count) except -1
    cdef int handle_queued(self, on_message, on_other, on_failure) except -1
    cdef list take_events(self, int64_t timeout)
    cdef int keep(self, list events) except -1
    cdef list poll_events(self, int64_t timeout)
    cdef Event event_object(self, const fs_event *event)
    cdef Connection connection_of(self, uint64_t handle, uint64_t number)
    cdef object publish(self, uint32_t channel, data, Connection exclude, timeout)
    cdef object publish_bytes(self, uint32_t channel, const uint8_t *data, size_t size,
                              Connection exclude, timeout)
    cdef int make_room(self, uint32_t channel, size_t size, Connection conn, timeout, int full,
                       uint64_t *begun) except -1
    cdef int raise_full(self, str what, uint32_t channel, Connection conn) except -1
    cdef object publish_many(self, uint32_t channel, messages, timeout)
    cdef object publish_outgoing(self, uint32_t channel, fs_outgoing *outgoing, size_t count,
                                 timeout)
    cdef bint subscribe(self, Channel channel, Connection conn, timeout) except -1
    cdef bint unsubscribe(self, Channel channel, Connection conn) except -1
    cdef int check_own(self, Connection conn) except -1
    cdef bint check_subscribed(self, Channel channel, int result) except -1
    cdef object find(self, number)
    cdef bint send_to(self, Connection conn, object data, timeout) except -1
    cdef int raise_ended(self, Connection conn) except -1
    cdef int close_one(self, Connection conn) except -1
    cdef bint await_met(self, fs_waiter *waiter, int64_t limit, uint64_t begun) except -1
    cdef object peer_of(self, uint64_t handle)
    cdef object local_of(self, Connection conn)
    cdef object connection_stats(self, Connection conn)
