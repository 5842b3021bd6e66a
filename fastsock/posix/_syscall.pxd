"""What every wrapped system call shares: descriptors, buffers, interruptions and errors."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t
from posix.uio cimport iovec

cdef extern from "Python.h":
    long PyLong_AsLongAndOverflow(object number, int *overflow) except? -1


cdef enum:
    # Linux moves no more in one call (read(2)).
    BYTES_MAX = 0x7ffff000


cdef inline ssize_t code(ssize_t result) noexcept nogil:
    """The result of a system call, or -errno."""
    return -errno if result < 0 else result


cdef inline bint interrupted(ssize_t result) except -1:
    """Whether the call is to be made again (PEP 475); signal handlers have run, and may raise."""
    if result != -EINTR:
        return False
    PyErr_CheckSignals()
    return True


cdef object whole(str name, object value)
cdef object out_of_range(str name, object value, long least, long most)
cdef int64_t timeout_ns(object timeout) except? -2


cdef inline int check_given(object timeout) except -1:
    """Raises for what is no timeout, where it may not be needed. None costs next to nothing."""
    if timeout is not None:
        timeout_ns(timeout)
    return 0


cdef inline long number_in(str name, object value, long least, long most) except? -1:
    """An int from least to most; TypeError or ValueError, which says so, for anything else."""
    cdef int overflow
    cdef object number = value if isinstance(value, int) else whole(name, value)
    cdef long found = PyLong_AsLongAndOverflow(number, &overflow)
    if overflow or not least <= found <= most:
        out_of_range(name, value, least, most)
    return found


cdef inline int c_int(str name, object value) except? -1:
    """What a C function takes as an int."""
    return <int>number_in(name, value, INT_MIN, INT_MAX)


cdef inline Py_ssize_t byte_count(str name, object value) except -1:
    """How much one call is to move."""
    return number_in(name, value, 0, BYTES_MAX)


cdef object index(object fd)
cdef object failure(str call, ssize_t result, tuple arguments)
cdef int hold(object target, Py_buffer *view, int flags) except -1


cdef inline int descriptor(object fd) except? -2:
    """The descriptor as a C int; one that no C int can hold is -1, which the kernel refuses."""
    cdef int overflow
    cdef long number = PyLong_AsLongAndOverflow(fd if type(fd) is int else index(fd), &overflow)
    return <int>number if 0 <= number <= INT_MAX and not overflow else -1


cdef inline int readable(object data, Py_buffer *view) except -1:
    """Holds the bytes of data, whatever its item type, until PyBuffer_Release."""
    if type(data) is bytes:
        return PyObject_GetBuffer(data, view, PyBUF_SIMPLE)
    return hold(data, view, PyBUF_SIMPLE)


cdef inline int writable(object buffer, Py_buffer *view) except -1:
    """Holds the bytes of buffer for writing until PyBuffer_Release."""
    if type(buffer) is bytearray:
        return PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    return hold(buffer, view, PyBUF_WRITABLE)


cdef class Vector:
    """Buffers for one call, as iovecs; what it holds is released with it."""

    cdef iovec *iov
    cdef Py_ssize_t count
    cdef Py_buffer *views
    cdef Py_ssize_t view_count
    cdef object owner


cdef Vector vector_of(object owner, Py_ssize_t count)
cdef Vector vector(object buffers, bint writing)
