from libc.stdint cimport uint64_t


cdef class Event:
    cdef readonly object conn


cdef class Connected(Event):
    pass


cdef class Message(Event):
    cdef readonly bytes data


cdef class Gap(Event):
    cdef readonly str channel
    cdef readonly uint64_t lost


cdef class Disconnected(Event):
    cdef readonly object reason
