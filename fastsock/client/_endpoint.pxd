from fastsock._csrc cimport fs_codec, int64_t, uint8_t, uint64_t
from fastsock.client._gathered cimport Gathered
from fastsock.core._lock cimport Lock


cdef struct Buffer:
    uint8_t *data
    size_t start, end, cap


cdef class ClientCore:
    cdef object __weakref__
    cdef int fd, users
    cdef bint closing, disowned, ended, finished, emptied, final_line
    cdef const fs_codec *codec
    cdef size_t message_bytes_max, outbox_bytes_max
    cdef int64_t busy_poll_ns
    cdef bint adaptive
    # How often looking was in vain, one after another, and the waits that go without it now.
    cdef int vain, without
    cdef Buffer received, unsent
    # Of all messages, with their framing: bytes accepted from the user, and taken by the kernel.
    cdef readonly uint64_t bytes_queued, bytes_sent
    cdef uint64_t bytes_discarded  # of the peer's, by close()
    cdef Lock send_lock, recv_lock
    cdef str end_reason
    # A TimeoutError was our own, not one of a signal handler's; whoever cares takes it back.
    cdef bint late

    cdef int require_connection(self) except -1
    cdef int configure(self, options) except -1
    cdef int enter(self, Lock side, int64_t limit, uint64_t begun) except -1
    cdef int enter_later(self, Lock side, int64_t limit, uint64_t begun) except -1
    cdef void leave(self, Lock side) noexcept
    cdef void let_go(self) noexcept
    cdef bint wait(self, short events, int64_t limit, uint64_t begun) except -1
    cdef bint looks(self, int64_t left) noexcept
    cdef bint spin(self, int64_t left) noexcept
    cdef list checked(self, messages, size_t *framed)
    cdef int send_all(self, messages, size_t framed, int64_t limit, timeout) except -1
    cdef int send_vector(self, Gathered gathered) except -1
    cdef int keep_unsent(self, Gathered gathered) except -1
    cdef int make_room(self, int64_t limit, uint64_t begun) except -1
    cdef ssize_t measure(self, const uint8_t *data, size_t size) except -1
    cdef int encode(self, data) except -1
    cdef int flush_in_time(self, int64_t limit, uint64_t begun, timeout) except -1
    cdef bint flush(self, size_t keep, int64_t limit, uint64_t begun) except -1
    cdef int raise_ended(self, int error) except -1
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
