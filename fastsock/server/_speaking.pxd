from fastsock.server._connection cimport Connection, Host
from fastsock._csrc cimport uint64_t


cdef class Speaking(Host):
    cdef dict connections_by_number
    cdef Connection recent
    cdef list channels

    cdef Connection connection_of(self, uint64_t handle, uint64_t number)
    cdef object find(self, number)
