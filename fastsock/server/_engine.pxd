from fastsock.server._connection cimport Channel, Connection
from fastsock._csrc cimport *
from fastsock.server._dispatch cimport Dispatch


cdef class Reactor:
    cdef fs_reactor *c  # NULL in a forked child
    cdef object __weakref__
    cdef bint dropped

    cdef object find(self, reference)
    cdef void drop(self, bint driven) noexcept
    cdef void end(self, int count) noexcept


cdef class Engine(Dispatch):
    cdef Reactor owned  # None until it is opened
    cdef fs_reactor *reactor  # that of owned; NULL in a forked child
    cdef object __weakref__
    cdef object refusals
    cdef uint64_t refused
    cdef tuple listening_at
    cdef object options  # the reactor reads the bytes of its relay_except and gap_notice
    cdef bint closing

    cdef void end(self) noexcept
    cdef fs_reactor *live(self) except NULL
    cdef object publish_bytes(self, uint32_t channel, const uint8_t *data, size_t size,
                              Connection exclude, timeout)
    cdef int make_room(self, uint32_t channel, size_t size, Connection conn, timeout, int full,
                       uint64_t *begun) except -1
    cdef int raise_full(self, str what, uint32_t channel, Connection conn) except -1
    cdef int check_own(self, Connection conn) except -1
    cdef bint check_subscribed(self, Channel channel, int result) except -1
    cdef int raise_ended(self, Connection conn) except -1
    cdef bint await_met(self, fs_waiter *waiter, int64_t limit, uint64_t begun) except -1
