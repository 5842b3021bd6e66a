"""One call for many descriptors or many datagrams: the loop runs in C, without the GIL.

Arrays come through the buffer protocol, so that numpy is needed only for the results that a call
allocates itself.
"""

import sys
from os import PathLike

from fastsock.posix.flags import MsgFlag

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR
from libc.stdint cimport int32_t, int64_t
from posix.uio cimport iovec

from fastsock.posix._sockaddr cimport address_pack
from fastsock.posix._syscall cimport (
    Vector,
    c_int,
    descriptor,
    failure,
    hold,
    interrupted,
    vector,
    vector_of,
)
from fastsock._csrc cimport fs_addr

cdef extern from "<sys/socket.h>" nogil:
    int MSG_WAITFORONE

cdef extern from "<netinet/in.h>" nogil:
    """
    enum { INET6_ROOM = sizeof(struct sockaddr_in6) };
    """
    int INET6_ROOM

cdef extern from "io/fs_batch.h" nogil:
    ctypedef struct fs_names:
        unsigned char *rows
        size_t row_len
        size_t step
    size_t fs_send_each(
        const int32_t *fds, size_t first, size_t count, const iovec *iov, size_t iov_step,
        int flags, int64_t *results
    )
    size_t fs_recv_each(
        const int32_t *fds, size_t first, size_t count, const iovec *iov, int flags,
        int64_t *results
    )
    ssize_t fs_send_datagrams(
        int fd, const iovec *iov, size_t count, fs_names names, int flags
    )
    ssize_t fs_recv_datagrams(
        int fd, const iovec *iov, size_t count, int64_t *lengths, fs_names names,
        int64_t *segments, int flags
    )

NOW = MsgFlag.MSG_DONTWAIT | MsgFlag.MSG_NOSIGNAL


cdef object numpy = None


cdef object new_results(str call, Py_ssize_t count):
    global numpy
    if numpy is None:
        try:
            import numpy as imported
        except ImportError:
            raise ImportError(f"{call} needs numpy: pip install fastsock[batch]") from None
        numpy = imported
    return numpy.empty(count, numpy.int64)


@cython.freelist(8)
cdef class Array:
    """An array held for one call: contiguous, with at least one dimension."""

    cdef Py_buffer view
    cdef Py_ssize_t count  # rows, in the first dimension
    cdef Py_ssize_t row_len  # bytes of each

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef Array array(object source, str name, bint writing):
    cdef Array held = Array.__new__(Array)
    try:
        hold(source, &held.view, PyBUF_WRITABLE if writing else PyBUF_SIMPLE)
    except (BufferError, TypeError):
        error = sys.exception()
        raise type(error)(f"{name}: {error}") from None
    if held.view.ndim < 1:
        raise ValueError(f"{name} must have a dimension, this is a single number")
    held.count = held.view.shape[0]
    held.row_len = held.view.len // held.count if held.count > 0 else 0
    return held


cdef bint is_integer(const char *format) noexcept:
    """Whether a format (PEP 3118) is a signed int of this machine; its size is told elsewhere."""
    if format == NULL:
        return False
    if format[0] in (b"@", b"=", b"<"):
        format += 1
    return format[0] in (b"i", b"l", b"q") and format[1] == 0


cdef Array numbers(object source, str name, int size, Py_ssize_t count, bint writing):
    """Holds a vector of int32 (size 4) or int64 (size 8) with count items; -1: any count."""
    cdef Array held = array(source, name, writing)
    if held.view.ndim != 1 or held.view.itemsize != size or not is_integer(held.view.format):
        format = held.view.format.decode() if held.view.format != NULL else ""
        raise TypeError(
            f"{name} must be an array of int{size * 8} with one dimension, this one has "
            f"{held.view.ndim} and items of {held.view.itemsize} bytes, format {format!r}"
        )
    same_count(name, held.count, count)
    return held


cdef int same_count(str name, Py_ssize_t count, Py_ssize_t expected) except -1:
    if expected >= 0 and count != expected:
        raise ValueError(f"{name} must have {expected} items like the rest, not {count}")
    return 0


cdef Vector each_buffer(object buffers, str name, Py_ssize_t count, bint writing):
    """A list or tuple of buffers, or the rows of an array, as one vector of count; -1: any."""
    cdef Vector parts
    cdef Array source
    cdef Py_ssize_t i
    if isinstance(buffers, (list, tuple)):
        parts = vector(buffers, writing)
        same_count(name, parts.count, count)
        return parts
    source = array(buffers, name, writing)
    if source.view.ndim < 2:
        raise ValueError(f"{name} must have the shape (count, size), or be a list of buffers")
    same_count(name, source.count, count)
    parts = vector_of(source, source.count)
    for i in range(source.count):
        parts.iov[i].iov_base = <char *>source.view.buf + i * source.row_len
        parts.iov[i].iov_len = source.row_len
    return parts


cdef int resume(int64_t *results, Py_ssize_t first, Py_ssize_t count) except -1:
    """Runs signal handlers; when one raises, the entries that were not reached are -EINTR."""
    cdef Py_ssize_t i
    try:
        PyErr_CheckSignals()
    except BaseException:
        for i in range(first, count):
            results[i] = -EINTR
        raise
    return 0


def send_each(fds, data, flags=NOW, *, out=None):
    """Sends data to every descriptor of an array: send(2) in a loop in C, without the GIL.

    fds: int32, shape (count,); data: one buffer for all, or a list or tuple of count buffers;
    out: an int64 array of shape (count,) for the results, else a new one.
    Returns the results: the bytes that the kernel took from each, or -errno. By default no call
    waits (MSG_DONTWAIT): -EAGAIN says that a socket is full. When a signal handler raises, the
    entries of out that were not reached are -EINTR.
    """
    cdef int c_flags = c_int("flags", flags)
    cdef Array c_fds = numbers(fds, "fds", 4, -1, False)
    cdef bint each = isinstance(data, (list, tuple))
    cdef Vector parts = vector(data if each else (data,), False)
    same_count("data", parts.count, c_fds.count if each else 1)
    results = new_results("send_each", c_fds.count) if out is None else out
    cdef Array c_results = numbers(results, "out", 8, c_fds.count, True)
    cdef size_t done = 0, count = c_fds.count
    while True:
        with nogil:
            done = fs_send_each(
                <int32_t *>c_fds.view.buf, done, count, parts.iov, each, c_flags,
                <int64_t *>c_results.view.buf
            )
        if done == count:
            return results
        resume(<int64_t *>c_results.view.buf, done, count)


def recv_each(fds, buffers, flags=NOW, *, out=None):
    """Receives from every descriptor of an array: recv(2) in a loop in C, without the GIL.

    fds: int32, shape (count,); buffers: a writable array of shape (count, size), or a list or
    tuple of count writable buffers, each for the descriptor at its place; out: as in send_each.
    Returns the results: the bytes received, 0 at the end of a stream, or -errno; -EAGAIN says that
    nothing was there.
    """
    cdef int c_flags = c_int("flags", flags)
    cdef Array c_fds = numbers(fds, "fds", 4, -1, False)
    cdef Vector parts = each_buffer(buffers, "buffers", c_fds.count, True)
    results = new_results("recv_each", c_fds.count) if out is None else out
    cdef Array c_results = numbers(results, "out", 8, c_fds.count, True)
    cdef size_t done = 0, count = c_fds.count
    while True:
        with nogil:
            done = fs_recv_each(
                <int32_t *>c_fds.view.buf, done, count, parts.iov, c_flags,
                <int64_t *>c_results.view.buf
            )
        if done == count:
            return results
        resume(<int64_t *>c_results.view.buf, done, count)


cdef class Names:
    """The addresses of a batch of datagrams, held for one call."""

    cdef fs_names c
    cdef fs_addr single
    cdef Array source


cdef Names NOBODY = Names()


cdef Names names(object addresses, Py_ssize_t count, bint writing):
    """None, one address for all (sending only), or an array with a packed address a row."""
    cdef Names held
    if addresses is None:
        return NOBODY
    held = Names.__new__(Names)
    if not writing and isinstance(addresses, (tuple, str, bytes, PathLike)):
        address_pack(addresses, &held.single)
        held.c.rows, held.c.row_len = <unsigned char *>&held.single.any, held.single.len
        return held
    held.source = array(addresses, "addresses", writing)
    if held.source.view.ndim != 2:
        raise ValueError("addresses must have the shape (count, size), a packed address a row")
    same_count("addresses", held.source.count, count)
    if writing and held.source.row_len < INET6_ROOM and count > 0:
        raise ValueError(
            f"addresses must have rows of at least {INET6_ROOM} bytes, not {held.source.row_len}"
        )
    held.c.rows = <unsigned char *>held.source.view.buf
    held.c.row_len = held.c.step = held.source.row_len
    return held


cdef int cut(Vector parts, object lengths) except -1:
    """Makes each buffer as long as its entry in lengths says."""
    cdef Array held = numbers(lengths, "lengths", 8, parts.count, False)
    cdef int64_t length
    cdef Py_ssize_t i
    for i in range(parts.count):
        length = (<int64_t *>held.view.buf)[i]
        if not 0 <= length <= <int64_t>parts.iov[i].iov_len:
            raise ValueError(
                f"lengths[{i}] is {length}, outside its buffer of {parts.iov[i].iov_len} bytes"
            )
        parts.iov[i].iov_len = length
    return 0


def sendmmsg(fd, buffers, lengths=None, addresses=None, flags=0):
    """sendmmsg(2): sends each buffer as one datagram; how many the kernel took.

    buffers: an array of shape (count, size), or a list or tuple of buffers; lengths: int64, shape
    (count,), the bytes to send of each, None for all; addresses: None on a connected socket, one
    address for all, or an array of shape (count, room) with a packed address (pack_address,
    recvmmsg) a row. A socket with the option UDP_SEGMENT cuts each buffer into datagrams of that
    size (udp(7)).
    """
    cdef int c_flags = c_int("flags", flags)
    cdef int number = descriptor(fd)
    cdef Vector parts = each_buffer(buffers, "buffers", -1, False)
    cdef Names to = names(addresses, parts.count, False)
    cdef ssize_t result
    if lengths is not None:
        cut(parts, lengths)
    while True:
        with nogil:
            result = fs_send_datagrams(number, parts.iov, parts.count, to.c, c_flags)
        if not interrupted(result):
            break
    if result < 0:
        raise failure("sendmmsg", result, (fd,))
    return result


def recvmmsg(fd, buffers, lengths, addresses=None, segments=None, flags=MSG_WAITFORONE):
    """recvmmsg(2): receives one datagram into each buffer; how many came.

    buffers: a writable array of shape (count, size), or a list or tuple of writable buffers;
    lengths: int64, shape (count,), receives the bytes of each datagram; addresses: None, or a
    writable uint8 array of shape (count, room) for the packed addresses of the senders, which
    unpack_address reads (28 bytes hold IPv4 and IPv6, 110 every UNIX name, and less cuts it);
    segments: None, or int64, shape (count,), receives the size of the datagrams that the option
    UDP_GRO has joined in a buffer, 0 for a single one (udp(7)). By default it waits for one
    datagram and takes what else is there; with MSG_TRUNC lengths tell the true size of a datagram
    that was cut.
    """
    cdef int c_flags = c_int("flags", flags)
    cdef int number = descriptor(fd)
    cdef Vector parts = each_buffer(buffers, "buffers", -1, True)
    cdef Array c_lengths = numbers(lengths, "lengths", 8, parts.count, True)
    cdef Names senders = names(addresses, parts.count, True)
    cdef Array c_segments = None
    cdef int64_t *segment_sizes = NULL
    cdef ssize_t result
    if segments is not None:
        c_segments = numbers(segments, "segments", 8, parts.count, True)
        segment_sizes = <int64_t *>c_segments.view.buf
    while True:
        with nogil:
            result = fs_recv_datagrams(
                number, parts.iov, parts.count, <int64_t *>c_lengths.view.buf, senders.c,
                segment_sizes, c_flags
            )
        if not interrupted(result):
            break
    if result < 0:
        raise failure("recvmmsg", result, (fd,))
    return result
