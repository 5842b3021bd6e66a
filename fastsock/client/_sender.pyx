"""Sending over one connection: framing, what the kernel has not taken yet, and time limits."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.errno cimport EAGAIN

from fastsock.client._buffer cimport buffer_len, buffer_reserve
from fastsock.client._gathered cimport Gathered
from fastsock.client._stream cimport POLLOUT, SHUT_RDWR, Stream, shutdown
from fastsock.core._convert cimport raise_code, refuse_data
from fastsock._csrc cimport *
from fastsock.posix._syscall cimport timeout_ns


cdef bytes bytes_of(data):
    """Return a buffer's bytes as they are now."""
    cdef Py_buffer view
    if PyBytes_CheckExact(data):
        return data
    if not PyObject_CheckBuffer(data):
        refuse_data(data)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef class Sender(Stream):
    """The sending half of a connection."""

    def send(self, data, *, timeout=None):
        """Send one message, bytes-like, of at most ``message_bytes_max`` bytes.

        Returns when it is with the kernel. ``timeout`` is in seconds, None for no limit. After a
        TimeoutError, what the kernel has not taken goes out before the next message, so the
        message must not be sent again; only if ``outbox_bytes_max`` are queued already is the
        message refused, and the error says so.

        Raises ConnectionClosed, MessageTooBig, ValueError for a newline inside a line.
        """
        self.send_all((data,), 0, timeout_ns(timeout), timeout)

    def send_many(self, messages, *, timeout=None):
        """Send the messages of an iterable, in order, with few system calls.

        Raises as ``send`` does; all are checked before the first goes out. The whole batch is copied
        at once: ``outbox_bytes_max`` bounds what was queued before it, not the batch, so send a
        long one in parts.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef size_t framed = 0
        cdef list checked = self.checked(messages, &framed)
        self.send_all(checked, framed, limit, timeout)

    cdef list checked(self, messages, size_t *framed):
        # What an iterable or a buffer does is the user's: it runs before a lock is taken.
        cdef list found = []
        self.require_connection()
        for message in messages:
            message = bytes_of(message)
            framed[0] += self.measure(<const uint8_t *>PyBytes_AS_STRING(message),
                                      PyBytes_GET_SIZE(message))
            found.append(message)
        return found

    cdef int send_all(self, messages, size_t framed, int64_t limit, timeout) except -1:
        """Send messages whose frames take that many bytes together, as checked() said; 0 if that is
        not known."""
        cdef uint64_t begun = fs_sys_now_ns()
        self.enter(self.send_lock, limit, begun)
        try:
            self.make_room(limit, begun)
            # Nothing of the user's runs between here and the last frame, and nothing can fail.
            buffer_reserve(&self.unsent, framed)
            for message in messages:
                self.encode(message)
            self.flush_in_time(limit, begun, timeout)
        finally:
            self.leave(self.send_lock)
        return 0

    def send_gathered(self, messages, *, timeout=None):
        """Send messages, each a list of buffers, which are not copied but go to the kernel from where
        they are. That pays for long ones. For length framing.

        Raises as ``send_many`` does, and ValueError for more than 64 buffers in all.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        cdef Gathered gathered
        self.require_connection()
        gathered = Gathered(messages, self.message_bytes_max)
        self.enter(self.send_lock, limit, begun)
        try:
            if not self.by_length:
                raise ValueError("send_gathered() is for framing='length'")
            if not self.flush(0, limit, begun):
                self.late = True
                raise TimeoutError("messages refused: earlier ones are not sent yet after"
                                   f" {timeout} s")
            self.bytes_queued += gathered.left
            self.send_vector(gathered)
            self.flush_in_time(limit, begun, timeout)
        finally:
            self.leave(self.send_lock)

    cdef int send_vector(self, Gathered gathered) except -1:
        """Send what the kernel takes at once, and keep a copy of the rest."""
        cdef ssize_t sent = fs_sys_sendv(self.fd, gathered.iov, gathered.count)
        if sent < 0 and sent != -EAGAIN:
            self.raise_ended(<int>sent)
        if sent > 0:
            self.bytes_sent += sent
            gathered.advance(sent)
        if gathered.left:
            self.keep_unsent(gathered)
        return 0

    cdef int keep_unsent(self, Gathered gathered) except -1:
        try:
            buffer_reserve(&self.unsent, gathered.left)
        except MemoryError:
            # A part of a message may be out, and its rest can never follow.
            self.ended = True
            shutdown(self.fd, SHUT_RDWR)
            raise
        self.unsent.end += gathered.copy_rest(self.unsent.data + self.unsent.end)
        return 0

    cdef int make_room(self, int64_t limit, uint64_t begun) except -1:
        if buffer_len(&self.unsent) >= self.outbox_bytes_max:
            if not self.flush(self.outbox_bytes_max - 1, limit, begun):
                self.late = True
                raise TimeoutError(f"message refused: {buffer_len(&self.unsent)} bytes of earlier"
                                   " ones wait, outbox_bytes_max is reached")
        return 0

    cdef ssize_t measure(self, const uint8_t *data, size_t size) except -1:
        cdef ssize_t framed = self.codec.measure(data, size)
        if framed > <ssize_t>(self.message_bytes_max + self.codec.header_len):
            framed = FS_ETOOBIG
        if framed < 0:
            raise_code(<int>framed, f"a message of {size} bytes")
        return framed

    cdef int encode(self, data) except -1:
        cdef Py_buffer view
        cdef ssize_t framed
        if not PyObject_CheckBuffer(data):
            refuse_data(data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            framed = self.measure(<const uint8_t *>view.buf, view.len)
            buffer_reserve(&self.unsent, framed)
            self.codec.encode(self.unsent.data + self.unsent.end, framed,
                              <const uint8_t *>view.buf)
            self.unsent.end += framed
            self.bytes_queued += framed
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int flush_in_time(self, int64_t limit, uint64_t begun, timeout) except -1:
        if not self.flush(0, limit, begun):
            self.late = True
            raise TimeoutError(f"{buffer_len(&self.unsent)} bytes are not sent yet after"
                               f" {timeout} s; they go out before the next message")
        return 0

    cdef bint flush(self, size_t keep, int64_t limit, uint64_t begun) except -1:
        """Send until at most keep bytes are left; False if the time is over first."""
        cdef ssize_t sent
        while buffer_len(&self.unsent) > keep:
            sent = fs_sys_send(self.fd, self.unsent.data + self.unsent.start,
                               buffer_len(&self.unsent))
            if sent >= 0:
                self.unsent.start += sent
                self.bytes_sent += sent
            elif sent != -EAGAIN:
                self.raise_ended(<int>sent)
            elif not self.wait(POLLOUT, limit, begun):
                return False
        return True
