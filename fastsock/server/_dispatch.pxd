from fastsock._csrc cimport fs_event, int64_t, uint64_t
from fastsock.server._connection cimport Connection
from fastsock.server._events cimport Event, Message
from fastsock.server._speaking cimport Speaking

cdef tuple REASONS


cdef inline bint is_news(Event event) noexcept:
    """Return whether to report it: not a message of a connection that this program has closed."""
    return type(event) is not Message or not (<Connection>event.conn).closing


cdef class Dispatch(Speaking):
    cdef list queued
    cdef Py_ssize_t queued_at
    cdef unsigned long driver  # the thread; 0: none

    cdef int require_open(self) except -1
    cdef bint ended(self) except -1
    cdef list turn(self, int64_t timeout)
    cdef list turned(self, int count)
    cdef int tell_refused(self) except -1
    cdef Event event_object(self, const fs_event *event)
    cdef int keep(self, list events) except -1
    cdef list take_queued(self)
    cdef int handle_queued(self, on_message, on_other, on_failure) except -1
    cpdef int _claim(self) except -1
    cdef bint handle_in_thread(self, int count) except -1
    cdef list take_events(self, int64_t timeout)
    cdef list poll_events(self, int64_t timeout)
