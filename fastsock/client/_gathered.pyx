"""Messages as the vector of buffers that sendmsg(2) takes."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy

from fastsock.core._convert cimport raise_code
from fastsock._csrc cimport FS_ETOOBIG, FS_LENGTH_BYTES, fs_length_pack


cdef class Gathered:
    """The buffers of several messages, each message behind its length, as one vector."""

    def __cinit__(self, messages, size_t message_bytes_max):
        cdef int number = 0
        cdef size_t size
        cdef uint8_t *header
        for message in messages:
            if number == BUFFERS_MAX:
                raise ValueError(f"more than {BUFFERS_MAX} buffers at once")
            header = self.headers + FS_LENGTH_BYTES * number
            self.append(header, FS_LENGTH_BYTES)
            size = self.append_all(message)
            if size > message_bytes_max:
                raise_code(FS_ETOOBIG, f"a message of {size} bytes")
            fs_length_pack(header, size)
            number += 1

    def __dealloc__(self):
        for i in range(self.view_count):
            PyBuffer_Release(&self.views[i])

    cdef size_t append_all(self, message) except? 0:
        cdef size_t size = 0
        cdef Py_buffer *view
        for part in message:
            if self.view_count == BUFFERS_MAX:
                raise ValueError(f"more than {BUFFERS_MAX} buffers at once")
            view = &self.views[self.view_count]
            PyObject_GetBuffer(part, view, PyBUF_SIMPLE)
            self.view_count += 1
            self.append(<uint8_t *>view.buf, view.len)
            size += view.len
        return size

    cdef void append(self, uint8_t *data, size_t size) noexcept:
        self.iov[self.count].iov_base = data
        self.iov[self.count].iov_len = size
        self.count += 1
        self.left += size

    cdef void advance(self, size_t sent) noexcept:
        """Forget the first bytes: the kernel has them."""
        cdef int at = 0
        self.left -= sent
        while at < self.count and sent >= self.iov[at].iov_len:
            sent -= self.iov[at].iov_len
            self.iov[at].iov_len = 0
            at += 1
        if at < self.count:
            self.iov[at].iov_base = <uint8_t *>self.iov[at].iov_base + sent
            self.iov[at].iov_len -= sent

    cdef size_t copy_rest(self, uint8_t *place) noexcept:
        cdef size_t copied = 0
        for i in range(self.count):
            memcpy(place + copied, self.iov[i].iov_base, self.iov[i].iov_len)
            copied += self.iov[i].iov_len
        return copied
