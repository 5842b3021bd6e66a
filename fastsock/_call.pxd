"""What every wrapped system call shares: descriptors, buffers, interruptions and errors."""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from posix.uio cimport iovec


cdef inline ssize_t code(ssize_t result) noexcept nogil:
    """The result of a system call, or -errno."""
    return -errno if result < 0 else result


cdef inline bint interrupted(ssize_t result) except -1:
    """Whether the call is to be made again (PEP 475); signal handlers have run, and may raise."""
    if result != -EINTR:
        return False
    PyErr_CheckSignals()
    return True


cdef int descriptor(object fd) except? -2
cdef object failure(str call, ssize_t result, tuple arguments)
cdef int hold(object target, Py_buffer *view, int flags) except -1
cdef int readable(object data, Py_buffer *view) except -1
cdef int writable(object buffer, Py_buffer *view) except -1


cdef class Vector:
    """Buffers for one call, as iovecs; what it holds is released with it."""

    cdef iovec *iov
    cdef Py_ssize_t count
    cdef Py_buffer *views
    cdef Py_ssize_t view_count
    cdef object owner


cdef Vector vector_of(object owner, Py_ssize_t count)
cdef Vector vector(object buffers, bint writing)
