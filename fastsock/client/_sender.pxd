from fastsock._csrc cimport int64_t, uint8_t, uint64_t
from fastsock.client._gathered cimport Gathered
from fastsock.client._stream cimport Stream


cdef class Sender(Stream):
    cdef list checked(self, messages, size_t *framed)
    cdef int send_all(self, messages, size_t framed, int64_t limit, timeout) except -1
    cdef int send_vector(self, Gathered gathered) except -1
    cdef int keep_unsent(self, Gathered gathered) except -1
    cdef int make_room(self, int64_t limit, uint64_t begun) except -1
    cdef ssize_t measure(self, const uint8_t *data, size_t size) except -1
    cdef int encode(self, data) except -1
    cdef int flush_in_time(self, int64_t limit, uint64_t begun, timeout) except -1
    cdef bint flush(self, size_t keep, int64_t limit, uint64_t begun) except -1
