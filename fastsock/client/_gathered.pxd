from libc.stdint cimport uint8_t

from fastsock._csrc cimport FS_LENGTH_BYTES, iovec

cdef enum:
    BUFFERS_MAX = 64


cdef class Gathered:
    cdef iovec[2 * BUFFERS_MAX] iov
    cdef uint8_t[FS_LENGTH_BYTES * BUFFERS_MAX] headers
    cdef Py_buffer[BUFFERS_MAX] views
    cdef int count, view_count
    cdef size_t left

    cdef size_t append_all(self, message) except? 0
    cdef void append(self, uint8_t *data, size_t size) noexcept
    cdef void advance(self, size_t sent) noexcept
    cdef size_t copy_rest(self, uint8_t *place) noexcept
