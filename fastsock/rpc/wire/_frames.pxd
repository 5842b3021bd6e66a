"""Frames in memory; the layout is in fastsock/rpc/wire/__init__.py."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromObject
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

cdef extern from "io/fs_portable.h" nogil:
    uint16_t htobe16(uint16_t number)
    uint64_t htobe64(uint64_t number)
    uint64_t be64toh(uint64_t number)

cdef enum:
    HEADER_BYTES = 24

    # A longer body is viewed, a shorter one copied: that is cheaper then.
    COPIED_MAX = 1024


cdef inline const uint8_t *head_of(bytes frame) noexcept:
    return <const uint8_t *><const char *>frame


cdef inline uint64_t number_at(const uint8_t *place) noexcept:
    cdef uint64_t number
    memcpy(&number, place, 8)
    return be64toh(number)


cdef inline object body_of(bytes frame):
    """What follows the header."""
    if len(frame) > COPIED_MAX:
        return PyMemoryView_FromObject(frame)[HEADER_BYTES:]
    return PyBytes_FromStringAndSize(<const char *>frame + HEADER_BYTES, len(frame) - HEADER_BYTES)


cdef inline bytes whole_frame(int kind, int flags, uint16_t method, uint64_t call,
                              uint64_t remaining_us, bytes body):
    """A frame with a whole body."""
    cdef Py_ssize_t size = len(body)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + size)
    cdef uint8_t *place = <uint8_t *><char *>frame
    memset(place, 0, HEADER_BYTES)
    place[0] = kind
    place[1] = flags
    method = htobe16(method)
    call = htobe64(call)
    remaining_us = htobe64(remaining_us)
    memcpy(place + 2, &method, 2)
    memcpy(place + 8, &call, 8)
    memcpy(place + 16, &remaining_us, 8)
    memcpy(place + HEADER_BYTES, <const char *>body, size)
    return frame
