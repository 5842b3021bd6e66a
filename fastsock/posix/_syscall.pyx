"""What every wrapped system call shares: descriptors, buffers, interruptions and errors."""

import os
import sys

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_ND,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.number cimport PyNumber_Index
from posix.uio cimport iovec

SECONDS_MAX = 1e9
"""The longest time that is counted: 31 years."""

cdef double MOST = SECONDS_MAX


cdef object index(object fd):
    """The int of a descriptor of another type, numpy's for example."""
    try:
        return PyNumber_Index(fd)
    except TypeError:
        raise TypeError(f"a descriptor is an int (the fileno() of a socket), not {fd!r}") from None


cdef object whole(str name, object value):
    """The int of a number of another type, numpy's for example."""
    try:
        return PyNumber_Index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None


cdef object out_of_range(str name, object value, long least, long most):
    raise ValueError(f"{name} must be from {least} to {most}, not {value}")


def check_timeout(timeout):
    """How many seconds to wait; None is no limit, and so is all above 1e9 seconds, infinity too.

    Any real number will do, numpy's for example. Raises TypeError or ValueError for anything else.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool | str) or not hasattr(timeout, "__float__"):
        raise TypeError(f"timeout must be None or a number of seconds, not {timeout!r}")
    try:
        seconds = float(timeout)
    except OverflowError:
        seconds = float("inf" if timeout > 0 else "-inf")
    if not seconds >= 0:
        raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout!r}")
    return seconds if seconds <= MOST else None


cdef int64_t timeout_ns(object timeout) except? -2:
    """A timeout in nanoseconds, or -1 for no limit. Raises as check_timeout."""
    cdef double seconds = -1.0
    cdef int overflow
    if timeout is None:
        return -1
    if type(timeout) is float:
        seconds = timeout
    elif type(timeout) is int:
        seconds = PyLong_AsLongAndOverflow(timeout, &overflow)
    if not 0 <= seconds <= MOST:
        checked = check_timeout(timeout)
        if checked is None:
            return -1
        seconds = checked
    return <int64_t>(seconds * 1e9)


cdef object failure(str call, ssize_t result, tuple arguments):
    """The OSError for a call that returned -errno; Python picks the subclass."""
    shown = ", ".join(map(repr, arguments))
    return OSError(-result, f"{os.strerror(-result)}: {call}({shown})")


cdef bint holds_objects(const char *format) noexcept:
    """Whether items of a buffer format (PEP 3118) are references; field names stand in colons."""
    cdef bint in_name = False
    while format[0]:
        if format[0] == b":":
            in_name = not in_name
        elif format[0] == b"O" and not in_name:
            return True
        format += 1
    return False


cdef int hold_items(object target, Py_buffer *view, int flags) except -1:
    """Holds a buffer of unknown items; one of references is refused, bytes from outside would
    make pointers of them."""
    try:
        PyObject_GetBuffer(target, view, flags | PyBUF_ND | PyBUF_FORMAT)
        objects = view.format != NULL and holds_objects(view.format)
    except ValueError:  # numpy has no format for times
        PyObject_GetBuffer(target, view, flags | PyBUF_ND)
        objects = getattr(getattr(target, "dtype", None), "hasobject", False)
    if objects:
        PyBuffer_Release(view)
        kind = type(target).__name__
        raise TypeError(f"a buffer of plain values is needed, this {kind} holds Python objects")
    return 0


cdef int hold(object target, Py_buffer *view, int flags) except -1:
    """Holds the memory of target until PyBuffer_Release, or says what is wrong with it."""
    try:
        hold_items(target, view, flags)
    except (BufferError, ValueError):
        kind = "a contiguous, writable" if flags & PyBUF_WRITABLE else "a contiguous"
        given = f"this {type(target).__name__} ({sys.exception()})"
        raise BufferError(f"{kind} buffer is needed, not {given}") from None
    return 0


@cython.freelist(8)
cdef class Vector:

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.view_count):
            PyBuffer_Release(&self.views[i])
        PyMem_Free(self.views)
        PyMem_Free(self.iov)


cdef Vector vector_of(object owner, Py_ssize_t count):
    """A vector of count empty iovecs, to be filled with memory that owner holds."""
    cdef Vector empty = Vector.__new__(Vector)
    empty.iov = <iovec *>PyMem_Calloc(count, sizeof(iovec))
    if empty.iov == NULL:
        raise MemoryError()
    empty.count = count
    empty.owner = owner
    return empty


cdef Vector vector(object buffers, bint writing):
    """Holds every buffer of an iterable."""
    cdef list items = list(buffers)
    cdef Vector held = vector_of(None, len(items))
    cdef Py_buffer *view
    held.views = <Py_buffer *>PyMem_Calloc(held.count, sizeof(Py_buffer))
    if held.views == NULL:
        raise MemoryError()
    for item in items:
        view = &held.views[held.view_count]
        hold(item, view, PyBUF_WRITABLE if writing else PyBUF_SIMPLE)
        held.iov[held.view_count].iov_base = view.buf
        held.iov[held.view_count].iov_len = view.len
        held.view_count += 1
    return held
