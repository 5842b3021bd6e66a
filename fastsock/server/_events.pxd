from libc.stdint cimport uint64_t


# detail is what the kind of event adds: data, reason, or the name of a channel.
cdef class Event:
    cdef readonly object conn
    cdef object detail


cdef class Connected(Event):
    pass


cdef class Message(Event):
    pass


cdef class Gap(Event):
    cdef readonly uint64_t lost


cdef class Disconnected(Event):
    pass
