"""The hot methods of fastsock.Socket.

The socket module hands the GIL over for each of these calls, and polls before it when the socket
has a timeout. Here the call is made at once, with MSG_DONTWAIT and with the GIL: what the kernel
can do now costs one system call and no hand-over. Whatever must wait, moves more than HOT_MAX or
has flags goes to the socket module's own method, which waits, times out and raises as ever.
"""

import os
import socket as std

from cpython.buffer cimport PyBUF_READ, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport EAGAIN

from fastsock.posix._syscall cimport code, readable, writable

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT
    ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)
    ssize_t c_recv "recv"(int fd, void *data, size_t size, int flags)

cdef extern from *:
    """
    /* Copying this much takes some microseconds, the time of two hand-overs of the GIL. */
    enum { HOT_MAX = 64 * 1024 };
    """
    int HOT_MAX

cdef object std_fileno = std.socket.fileno
cdef object std_gettimeout = std.socket.gettimeout
cdef object std_send = std.socket.send
cdef object std_sendall = std.socket.sendall
cdef object std_recv = std.socket.recv
cdef object std_recv_into = std.socket.recv_into


cdef int check(object sock, ssize_t result) except -1:
    """Raises what the call failed with; a socket that may wait now has nothing to raise."""
    if result == -EAGAIN and std_gettimeout(sock) != 0.0:
        return 0
    raise OSError(-result, os.strerror(-result))


cdef ssize_t send_now(object sock, const Py_buffer *view) except? -1:
    return code(c_send(std_fileno(sock), view.buf, view.len, MSG_DONTWAIT))


cdef ssize_t send_rest(object sock, const Py_buffer *view, ssize_t sent) except? -1:
    """A blocking socket sends all that a signal or an error do not keep it from (send(2))."""
    cdef int fd = std_fileno(sock)
    cdef ssize_t result
    with nogil:
        result = c_send(fd, <char *>view.buf + sent, view.len - sent, 0)
    return sent + max(result, 0)


def send(self, data, int flags=0, /):
    """As socket.socket.send."""
    cdef Py_buffer view
    cdef ssize_t sent
    try:
        readable(data, &view)
    except BufferError:
        return std_send(self, data, flags)
    try:
        if flags != 0 or view.len > HOT_MAX:
            return std_send(self, data, flags)
        sent = send_now(self, &view)
        if sent < 0:
            check(self, sent)
            return std_send(self, data)
        if sent < view.len and std_gettimeout(self) is None:
            sent = send_rest(self, &view, sent)
        return sent
    finally:
        PyBuffer_Release(&view)


def sendall(self, data, int flags=0, /):
    """As socket.socket.sendall."""
    cdef Py_buffer view
    cdef ssize_t sent
    try:
        readable(data, &view)
    except BufferError:
        return std_sendall(self, data, flags)
    try:
        if flags != 0 or view.len > HOT_MAX:
            return std_sendall(self, data, flags)
        sent = send_now(self, &view)
        if sent < 0:
            check(self, sent)
            sent = 0
        if sent < view.len:
            std_sendall(
                self, PyMemoryView_FromMemory(<char *>view.buf + sent, view.len - sent, PyBUF_READ)
            )
    finally:
        PyBuffer_Release(&view)


def recv(self, Py_ssize_t bufsize, int flags=0, /):
    """As socket.socket.recv."""
    cdef ssize_t received
    cdef PyObject *data
    if flags != 0 or not 0 <= bufsize <= HOT_MAX:
        return std_recv(self, bufsize, flags)
    data = PyBytes_FromStringAndSize(NULL, bufsize)
    try:
        received = code(
            c_recv(std_fileno(self), PyBytes_AS_STRING(<bytes>data), bufsize, MSG_DONTWAIT)
        )
        if received >= 0:
            _PyBytes_Resize(&data, received)
            return <bytes>data
    finally:
        Py_XDECREF(data)
    check(self, received)
    return std_recv(self, bufsize)


def recv_into(self, buffer, Py_ssize_t nbytes=0, int flags=0):
    """As socket.socket.recv_into."""
    cdef Py_buffer view
    cdef ssize_t received
    try:
        writable(buffer, &view)
    except BufferError:
        return std_recv_into(self, buffer, nbytes, flags)
    try:
        if flags != 0 or not 0 <= nbytes <= view.len or (nbytes or view.len) > HOT_MAX:
            return std_recv_into(self, buffer, nbytes, flags)
        received = code(c_recv(std_fileno(self), view.buf, nbytes or view.len, MSG_DONTWAIT))
        if received < 0:
            check(self, received)
            return std_recv_into(self, buffer, nbytes)
        return received
    finally:
        PyBuffer_Release(&view)
