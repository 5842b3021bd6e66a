from fastsock.server._engine cimport Engine
from fastsock._csrc cimport uint32_t, uint64_t


cdef class Connection:
    cdef Engine engine
    cdef uint64_t handle
    cdef readonly uint64_t number
    cdef readonly object reason
    cdef bint closing  # by this program: no message of it is told any more
    cdef public object context
    cdef object _peer


cdef class Channel:
    cdef Engine engine
    cdef uint32_t number
    cdef readonly str name
