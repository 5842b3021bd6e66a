"""One connection of a client: receiving and closing. Framing and buffers are in C, and it waits
without the GIL."""

from fastsock.errors import ConnectionClosed, MessageTooBig

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN
from libc.string cimport memcpy

from fastsock.client._buffer cimport buffer_len, buffer_reserve
from fastsock.client._sender cimport Sender
from fastsock.client._stream cimport POLLIN, SHUT_RDWR, shutdown
from fastsock.core._convert cimport time_left
from fastsock._csrc cimport *
from fastsock.posix._syscall cimport number_in, timeout_ns

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef size_t READ_BYTES = 1 << 16


cdef void fill_iov(iovec *iov, uint8_t *header, size_t header_len, uint8_t *place, size_t size,
                   size_t got, size_t wanted) noexcept:
    """Fill in where the bytes after the first got go: the rest of the header, then place. Once the
    message's length is known, no further than its end."""
    cdef size_t header_got = min(got, header_len), placed = got - header_got
    cdef size_t most = min(size, wanted - header_len) if wanted else size
    iov[0].iov_base = header + header_got
    iov[0].iov_len = header_len - header_got
    iov[1].iov_base = place + placed
    iov[1].iov_len = most - placed


cdef class ClientCore(Sender):
    """What :class:`fastsock.Endpoint` is made of."""

    cdef int end_of_stream(self, size_t got) except -1:
        """Raise, since the peer's stream has ended behind got bytes that are no whole message."""
        if got == 0 or self.closing:
            self.raise_ended(0)
        self.ended = True
        raise ConnectionClosed("unfinished message", "peer")

    # ---- Receiving ----

    def recv(self, *, timeout=None):
        """Return the next message, as bytes, without its framing.

        ``timeout`` is in seconds, None for no limit; TimeoutError if no whole message has come by
        then, and nothing is lost. At the end of the stream raises ConnectionClosed, whose
        ``reason`` is "unfinished message" if the peer has closed in the middle of one;
        ProtocolError if the peer announces more than ``message_bytes_max``.
        """
        return self.recv_some(1, timeout_ns(timeout), timeout)[0]

    def recv_many(self, count_max, *, timeout=None):
        """Return the next messages, a list of 1 to ``count_max``: waits for the first, and adds those
        that have arrived behind it. Raises as ``recv`` does."""
        cdef Py_ssize_t most = number_in("count_max", count_max, 1, PY_SSIZE_T_MAX)
        return self.recv_some(most, timeout_ns(timeout), timeout)

    cdef list recv_some(self, Py_ssize_t count_max, int64_t limit, timeout):
        cdef uint64_t begun = fs_sys_now_ns()
        cdef list messages = []
        self.enter(self.recv_lock, limit, begun)
        try:
            while not self.decode(messages, count_max):
                if not self.receive(limit, begun):
                    self.late = True
                    raise TimeoutError(f"no message after {timeout} s")
        finally:
            self.leave(self.recv_lock)
        return messages

    def recv_into(self, buffer, *, timeout=None):
        """Receive the next message into a writable buffer and return how many bytes it has.

        With length and raw framing, bytes that have not arrived before the call go from the kernel
        straight into the buffer. Raises as ``recv`` does, and ValueError for a message longer
        than the buffer. After an error nothing is lost: the message comes with the next call.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            self.enter(self.recv_lock, limit, begun)
            try:
                return self.recv_to(<uint8_t *>view.buf, view.len, limit, begun, timeout)
            finally:
                self.leave(self.recv_lock)
        finally:
            PyBuffer_Release(&view)

    cdef object recv_to(self, uint8_t *place, size_t size, int64_t limit, uint64_t begun, timeout):
        cdef fs_slice message
        cdef ssize_t taken
        cdef bint direct = not self.by_line
        if size == 0 and self.codec.header_len == 0:
            raise ValueError("the buffer is empty; raw framing needs at least one byte")
        while True:
            taken = self.codec.decode(self.received.data + self.received.start,
                                      buffer_len(&self.received), self.message_bytes_max, &message)
            if taken < 0:
                self.raise_too_big(taken)
            if taken > 0:
                if message.len > size:
                    raise ValueError(f"a message of {message.len} bytes does not fit into a"
                                     f" buffer of {size}")
                memcpy(place, message.data, message.len)
                self.received.start += taken
                return message.len
            if direct and buffer_len(&self.received) == 0:
                if not self.receive_direct(place, size, limit, begun, &taken):
                    raise TimeoutError(f"no message after {timeout} s")
                if taken >= 0:
                    return taken
            elif not self.receive(limit, begun):
                raise TimeoutError(f"no message after {timeout} s")

    cdef bint receive_direct(self, uint8_t *place, size_t size, int64_t limit, uint64_t begun,
                             ssize_t *message_len) except -1:
        """Read a header, if the framing has one, and what follows it into place.

        *message_len is the message's length if it is whole there. Otherwise it is -1, and what was
        read is with the received bytes. Returns False if the time is over.
        """
        cdef uint8_t header[4]
        cdef iovec[2] iov
        cdef size_t header_len = self.codec.header_len, got = 0, wanted = 0
        cdef ssize_t received
        cdef bint whole = False, in_time = True
        try:
            while not whole:
                fill_iov(iov, header, header_len, place, size, got, wanted)
                received = fs_sys_recvv(self.fd, iov, 2)
                if received == -EAGAIN:
                    in_time = self.wait(POLLIN, limit, begun)
                    if in_time:
                        continue
                    break
                if received == 0:
                    self.end_of_stream(got)
                if received < 0:
                    self.raise_ended(<int>received)
                got += received
                if header_len == 0:
                    wanted = min(got, self.message_bytes_max)
                elif got >= header_len:
                    wanted = header_len + fs_length_unpack(header)
                if wanted > header_len + min(size, self.message_bytes_max):
                    break
                whole = got >= max(wanted, max(header_len, <size_t>1))
        finally:
            self.keep_received(header, header_len, place, got, wanted if whole else 0)
        message_len[0] = <ssize_t>(wanted - header_len) if whole else -1
        return in_time

    cdef int keep_received(self, const uint8_t *header, size_t header_len, const uint8_t *place,
                           size_t got, size_t used) except -1:
        """Keep what was read beyond the first used bytes, which lies in header and place."""
        if got == used:
            return 0
        self.received.start = self.received.end = 0
        buffer_reserve(&self.received, got)
        if used < header_len:
            memcpy(self.received.data, header, min(got, header_len))
            self.received.end = min(got, header_len)
            used = header_len
        if got > used:
            memcpy(self.received.data + self.received.end, place + used - header_len, got - used)
            self.received.end += got - used
        return 0

    cdef int raise_too_big(self, ssize_t code) except -1:
        framing = self.codec.name.decode()
        first = bytes(self.received.data[self.received.start:self.received.end][:16])
        raise MessageTooBig(
            f"the peer's message is longer than message_bytes_max = {self.message_bytes_max}"
            + (f"; the peer speaks another framing than {framing!r}, it begins with {first!r}"
               if code == FS_EFRAMING else ""))

    cdef bint decode(self, list messages, Py_ssize_t count_max) except -1:
        cdef fs_slice message
        cdef ssize_t taken
        while len(messages) < count_max:
            taken = self.codec.decode(self.received.data + self.received.start,
                                      buffer_len(&self.received), self.message_bytes_max, &message)
            if taken == 0:
                break
            if taken < 0:
                if messages:
                    break
                self.raise_too_big(taken)
            messages.append(PyBytes_FromStringAndSize(<const char *>message.data, message.len))
            self.received.start += taken
        return len(messages) > 0

    cdef bint receive(self, int64_t limit, uint64_t begun) except -1:
        """Read once more; False if the time is over first."""
        cdef ssize_t received
        cdef size_t room
        if self.received.start == self.received.end:
            self.received.start = self.received.end = 0
        buffer_reserve(&self.received, READ_BYTES)
        room = self.received.cap - self.received.end
        # If the last read emptied the socket, the next would find nothing: wait first.
        if self.emptied and not self.wait(POLLIN, limit, begun):
            return False
        while True:
            received = fs_sys_recv(self.fd, self.received.data + self.received.end, room)
            if received > 0:
                self.received.end += received
                self.emptied = <size_t>received < room
                return True
            if received == 0:
                return self.end_last_line()
            if received != -EAGAIN:
                self.raise_ended(<int>received)
            if not self.wait(POLLIN, limit, begun):
                return False

    cdef bint end_last_line(self) except -1:
        """End the last line with the peer's stream if that is wanted: True; else raise."""
        if not self.final_line or buffer_len(&self.received) == 0:
            self.end_of_stream(buffer_len(&self.received))
        self.received.data[self.received.end] = b"\n"
        self.received.end += 1
        return True

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.recv()
        except ConnectionClosed as error:
            if error.reason in ("reset by peer", "unfinished message"):
                raise
            raise StopIteration from None

    # ---- Closing and looking ----

    def finish(self, *, timeout=None):
        """Send what is queued, and tell the peer that nothing more follows: shutdown(2).

        ``recv`` and iteration go on until the peer ends, too; ``close()`` would throw away what
        it still sends. A send raises ConnectionClosed from now on. Raises as ``send`` does.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        self.enter(self.send_lock, limit, begun)
        try:
            self.flush_in_time(limit, begun, timeout)
            fs_sys_shutdown_write(self.fd)
            self.finished = True
        finally:
            self.leave(self.send_lock)

    def detach(self):
        """Give the socket away: close this object, and return the descriptor, which is now the
        caller's. Forked children inherit it, as they do no connection of ours.

        Raises RuntimeError while another thread sends or receives, and if bytes are here that the
        caller would lose; after ``accept`` there are none. ConnectionClosed if it is closed.
        """
        cdef int fd = self.fd
        self.require_connection()
        if self.closing:
            raise ConnectionClosed("the connection is closed", "local")
        if self.users:
            raise RuntimeError("detach() is for a connection at which no thread sends or receives")
        if buffer_len(&self.received) or buffer_len(&self.unsent):
            raise RuntimeError(f"detach() would lose {buffer_len(&self.received)} bytes that were"
                               f" received and {buffer_len(&self.unsent)} that are not sent yet")
        self.closing = True
        self.fd = -1
        return fd

    def _close(self, timeout):
        """Send what is queued, shut this side, and read to the peer's end, all within timeout."""
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        if self.closing or self.fd < 0:
            return
        self.users += 1
        try:
            if not self.ended:
                self.flush(0, limit, begun)
            self.closing = True
            if fs_sys_shutdown_write(self.fd) == 0 and not self.ended:
                self.discard(limit, begun)
        except ConnectionClosed:
            pass
        finally:
            self.closing = True
            shutdown(self.fd, SHUT_RDWR)
            self.let_go()

    cdef int discard(self, int64_t limit, uint64_t begun) except -1:
        cdef uint8_t scratch[4096]
        cdef ssize_t received
        while True:
            received = fs_sys_recv(self.fd, scratch, sizeof(scratch))
            if received == 0 or (received < 0 and received != -EAGAIN):
                return 0
            if received > 0:
                self.bytes_discarded += received
            if time_left(limit, begun) == 0:
                return 0
            if received == -EAGAIN and not self.wait(POLLIN, limit, begun):
                return 0

    @property
    def pending(self):
        """How many messages ``recv`` returns without reading the socket: those that have arrived
        whole behind one that was received. ``fileno`` is not readable because of them.

        A message that is refused because it is too big counts as one. 0 means that it is time to
        wait for ``fileno``, even if a part of a message is there.
        """
        cdef fs_slice message
        cdef ssize_t taken
        cdef size_t at = self.received.start, count = 0
        if self.closing:
            return 0
        while True:
            taken = self.codec.decode(self.received.data + at, self.received.end - at,
                                      self.message_bytes_max, &message)
            if taken <= 0:
                return count + (taken < 0)
            at += taken
            count += 1

    @property
    def bytes_unheard(self):
        """How many bytes of the peer were thrown away when this side was closed: received and not
        handed out, or sent by the peer while ``close()`` waited for its end. 0 before. What comes
        later, the kernel refuses, and the peer is told of a reset."""
        return self.bytes_discarded + buffer_len(&self.received) if self.closing else 0
