# Bytes on their way through a connection.
from libc.stdint cimport uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memmove


cdef struct Buffer:
    uint8_t *data
    size_t start, end, cap


cdef inline size_t buffer_len(const Buffer *buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef inline int buffer_reserve(Buffer *buffer, size_t room) except -1:
    """Make room for that many bytes behind the end; what is kept may move."""
    cdef size_t kept
    if buffer.cap - buffer.end >= room:
        return 0
    kept = buffer_len(buffer)
    if buffer.start:
        memmove(buffer.data, buffer.data + buffer.start, kept)
        buffer.start = 0
        buffer.end = kept
    if buffer.cap - kept >= room:
        return 0
    cdef size_t cap = max(2 * buffer.cap, kept + room)
    cdef uint8_t *data = <uint8_t *>realloc(buffer.data, cap)
    if data is NULL:
        raise MemoryError
    buffer.data = data
    buffer.cap = cap
    return 0
