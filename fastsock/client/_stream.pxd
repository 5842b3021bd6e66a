from fastsock._csrc cimport fs_codec, int64_t, uint64_t
from fastsock.client._buffer cimport Buffer
from fastsock.core._lock cimport Lock

cdef extern from "<poll.h>" nogil:
    short POLLIN
    short POLLOUT

cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_RDWR
    int shutdown(int fd, int how)


cdef class Stream:
    cdef object __weakref__
    cdef int fd, users
    cdef bint closing, disowned, ended, finished, emptied, final_line
    cdef bint by_line, by_length  # framing
    cdef const fs_codec *codec
    cdef size_t message_bytes_max, outbox_bytes_max
    cdef int64_t spin_ns
    cdef bint adaptive
    cdef int misses, skips_left  # fruitless spins in a row, and waits that will not spin
    cdef Buffer received, unsent
    # Of all messages, with their framing: bytes accepted from the user, and taken by the kernel.
    cdef readonly uint64_t bytes_queued, bytes_sent
    cdef Lock send_lock, recv_lock
    # Set with a TimeoutError of its own, not one of a signal handler's; a caller may clear it.
    cdef bint late

    cdef int require_connection(self) except -1
    cdef int configure(self, options) except -1
    cdef int enter(self, Lock side, int64_t limit, uint64_t begun) except -1
    cdef int enter_later(self, Lock side, int64_t limit, uint64_t begun) except -1
    cdef void leave(self, Lock side) noexcept
    cdef void let_go(self) noexcept
    cdef bint wait(self, short events, int64_t limit, uint64_t begun) except -1
    cdef bint spin_first(self, int64_t left) noexcept
    cdef bint spin(self, int64_t left) noexcept
    cdef int raise_ended(self, int error) except -1
