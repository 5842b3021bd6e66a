from fastsock._csrc cimport int64_t, uint8_t, uint64_t
from fastsock.client._sender cimport Sender


cdef class ClientCore(Sender):
    cdef uint64_t bytes_discarded  # of the peer's, by close()

    cdef int end_of_stream(self, size_t got) except -1
    cdef list recv_some(self, Py_ssize_t count_max, int64_t limit, timeout)
    cdef object recv_to(self, uint8_t *place, size_t size, int64_t limit, uint64_t begun, timeout)
    cdef bint receive_direct(self, uint8_t *place, size_t size, int64_t limit, uint64_t begun,
                             ssize_t *message_len) except -1
    cdef int keep_received(self, const uint8_t *header, size_t header_len, const uint8_t *place,
                           size_t got, size_t used) except -1
    cdef int raise_too_big(self, ssize_t code) except -1
    cdef bint decode(self, list messages, Py_ssize_t count_max) except -1
    cdef bint receive(self, int64_t limit, uint64_t begun) except -1
    cdef bint end_last_line(self) except -1
    cdef int discard(self, int64_t limit, uint64_t begun) except -1
