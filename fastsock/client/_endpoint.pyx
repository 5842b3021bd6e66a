"""One connection of a client: framing and buffers in C, waiting without the GIL."""

from fastsock.errors import ConnectionClosed, MessageTooBig
from fastsock.core.forking import disown_in_children, foreign

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.errno cimport EAGAIN, EPIPE
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from fastsock.core._convert cimport (
    addr_object,
    fill_addr,
    raise_code,
    refuse_data,
    time_left,
    wait_ready,
)
from fastsock._csrc cimport *
from fastsock.client._gathered cimport Gathered
from fastsock.core._lock cimport Lock
from fastsock.posix._syscall cimport number_in, timeout_ns

cdef extern from "<poll.h>" nogil:
    short POLLIN
    short POLLOUT

cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_RDWR
    int shutdown(int fd, int how)


cdef size_t buffer_len(const Buffer *buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef int buffer_reserve(Buffer *buffer, size_t room) except -1:
    """Makes room for that many bytes behind the end; what is kept may move."""
    cdef size_t kept = buffer_len(buffer), cap
    if buffer.cap - buffer.end >= room:
        return 0
    if buffer.start:
        memmove(buffer.data, buffer.data + buffer.start, kept)
        buffer.start = 0
        buffer.end = kept
    if buffer.cap - kept >= room:
        return 0
    cap = max(2 * buffer.cap, kept + room)
    cdef uint8_t *data = <uint8_t *>realloc(buffer.data, cap)
    if data is NULL:
        raise MemoryError
    buffer.data = data
    buffer.cap = cap
    return 0


cdef bytes bytes_of(data):
    """A buffer's bytes at this moment."""
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


cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef size_t READ_BYTES = 1 << 16


cdef size_t message_len_of(const uint8_t *header) noexcept:
    """What a header of length framing announces."""
    return (<size_t>header[0] << 24) | (header[1] << 16) | (header[2] << 8) | header[3]


cdef void fill_iov(iovec *iov, uint8_t *header, size_t header_len, uint8_t *place, size_t size,
                   size_t got, size_t wanted) noexcept:
    """Where the bytes after the first got go: the rest of the header, then place. Once the
    message's length is known, no further than its end."""
    cdef size_t header_got = min(got, header_len), placed = got - header_got
    cdef size_t most = min(size, wanted - header_len) if wanted else size
    iov[0].iov_base = header + header_got
    iov[0].iov_len = header_len - header_got
    iov[1].iov_base = place + placed
    iov[1].iov_len = most - placed


cdef enum:
    # To sleep and to be woken takes about as long, in time and in CPU time: who looks no longer
    # than that before sleeping loses at most as much again.
    ADAPTIVE_NS = 50_000

    VAIN_MAX = 6


cdef class ClientCore:
    """What :class:`fastsock.Endpoint` is made of.

    fd is closed by the last call that uses it, so that close() may come from any thread.
    """

    def __cinit__(self):
        self.fd = -1
        self.closing = True  # until it is opened
        self.send_lock = Lock()
        self.recv_lock = Lock()

    def __dealloc__(self):
        if self.fd >= 0:
            fs_sys_close(self.fd)
        free(self.received.data)
        free(self.unsent.data)

    def _open(self, family, sockaddr, options, timeout):
        """Connects; OSError says why it cannot, TimeoutError after timeout seconds."""
        cdef fs_addr addr
        cdef cbool pending = False
        cdef int result
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        self.configure(options)
        fill_addr(&addr, family, sockaddr)
        result = fs_sys_connect(&addr, &pending)
        if result < 0:
            raise_code(result, "connect")
        self.fd = result
        if pending and not self.wait(POLLOUT, limit, begun):
            raise TimeoutError(f"not connected after {timeout:.3g} s")
        result = fs_sys_connect_result(self.fd)
        if result < 0:
            raise_code(result, "connect")

    def _adopt(self, int fd, options):
        """Takes over a connected socket that does not block."""
        self.configure(options)
        self.fd = fd

    cdef int require_connection(self) except -1:
        if self.codec is NULL:
            raise RuntimeError("this connection was never opened: use Client.connect(address), or"
                               " SingleServer(address).accept()")
        if self.disowned:
            raise foreign("connection")
        return 0

    cdef int configure(self, options) except -1:
        if self.codec is not NULL:
            raise RuntimeError("this connection was opened already")
        framing = options["framing"]
        self.codec = &fs_codec_line
        if framing != "line":
            self.codec = &fs_codec_length if framing == "length" else &fs_codec_raw
        self.final_line = options["final_line"]
        self.message_bytes_max = options["message_bytes_max"]
        self.outbox_bytes_max = options["outbox_bytes_max"]
        self.adaptive = options["busy_poll_us"] is None
        self.closing = False
        disown_in_children(self)
        self.busy_poll_ns = ADAPTIVE_NS
        if not self.adaptive:
            self.busy_poll_ns = 1000 * <int64_t>options["busy_poll_us"]
        return 0

    cdef int enter(self, Lock side, int64_t limit, uint64_t begun) except -1:
        """Begins to send, or to receive, once no other thread does. RuntimeError if this one does:
        a signal handler or destructor has interrupted it."""
        if not side.try_take():
            self.enter_later(side, limit, begun)
        if self.closing:
            side.give()
            self.require_connection()
            raise ConnectionClosed("the connection is closed", "local")
        self.users += 1
        return 0

    cdef int enter_later(self, Lock side, int64_t limit, uint64_t begun) except -1:
        cdef int64_t left = time_left(limit, begun)
        if side.wait(-1 if left < 0 else left / 1e9):
            return 0
        told = ("message refused: another thread sends" if side is self.send_lock
                else "no message: another thread receives")
        raise TimeoutError(f"{told} still after {limit / 1e9:g} s")

    cdef void leave(self, Lock side) noexcept:
        self.let_go()
        side.give()

    cdef void let_go(self) noexcept:
        self.users -= 1
        if self.closing and self.users == 0 and self.fd >= 0:
            fs_sys_close(self.fd)
            self.fd = -1

    cdef bint wait(self, short events, int64_t limit, uint64_t begun) except -1:
        """wait_ready, after looking for busy_poll_us."""
        if events == POLLIN and self.busy_poll_ns and self.looks(time_left(limit, begun)):
            return True
        return wait_ready(self.fd, events, limit, begun)

    cdef bint looks(self, int64_t left) noexcept:
        """Whether there is something to read soon, where there is time to look. Each time that it was in vain to look, if that
        is for us to judge, twice as many waits go without."""
        cdef bint found
        if left == 0:
            return False
        if self.without:
            self.without -= 1
            return False
        found = self.spin(left)
        if self.adaptive:
            self.vain = 0 if found else min(self.vain + 1, VAIN_MAX)
            self.without = (1 << self.vain) - 1
        return found

    cdef bint spin(self, int64_t left) noexcept:
        """Looks for something to read for busy_poll_us, at most left: whether there is."""
        cdef uint64_t until = fs_sys_now_ns() + (
            self.busy_poll_ns if left < 0 else min(left, self.busy_poll_ns))
        cdef int result = 0
        with nogil:
            while result == 0 and fs_sys_now_ns() < until:
                result = fs_sys_poll(self.fd, POLLIN, 0)
        return result > 0

    # ---- Sending ----

    def send(self, data, *, timeout=None):
        """Sends one message, bytes-like, of at most ``message_bytes_max`` bytes.

        Returns when it is with the kernel. ``timeout`` is in seconds, None for ever. After a
        TimeoutError what the kernel has not taken goes out before the next message, so the
        message must not be sent again; only when ``outbox_bytes_max`` wait already is a message
        refused, which the error says.

        Raises ConnectionClosed, MessageTooBig, ValueError for a newline inside a line.
        """
        self.send_all((data,), 0, timeout_ns(timeout), timeout)

    def send_many(self, messages, *, timeout=None):
        """Sends the messages of an iterable, in order, with as few system calls as fit.

        Raises as ``send`` does; all are checked before the first goes out.
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
        """Sends messages whose frames take that many bytes together, as checked() said; 0: as
        each one's own check says."""
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
        """Sends messages each of which is a list of buffers: they go to the kernel from where they
        are, which pays for long ones. For length framing.

        Raises as ``send_many`` does, and ValueError for more than 64 buffers in all.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        cdef Gathered gathered
        self.require_connection()
        gathered = Gathered(messages, self.message_bytes_max)
        self.enter(self.send_lock, limit, begun)
        try:
            if self.codec.name != fs_codec_length.name:
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
        """Sends what the kernel takes at once, and keeps a copy of the rest."""
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
        """Sends until at most keep bytes are left: True, or the time is over: False."""
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

    cdef int raise_ended(self, int error) except -1:
        """error: of the failed call, 0 at the end of the peer's stream."""
        if self.closing:
            raise ConnectionClosed("the connection is closed", "local")
        if self.finished and error == -EPIPE:
            self.unsent.start = self.unsent.end = 0
            raise ConnectionClosed("nothing can be sent after finish()", "local")
        self.ended = True
        raise ConnectionClosed("closed by peer" if error == 0 or error == -EPIPE
                               else "reset by peer", "peer")

    cdef int end_of_stream(self, size_t got) except -1:
        """The peer's stream has ended behind got bytes that are no whole message."""
        if got == 0 or self.closing:
            self.raise_ended(0)
        self.ended = True
        raise ConnectionClosed("unfinished message", "peer")

    # ---- Receiving ----

    def recv(self, *, timeout=None):
        """The next message, as bytes, without its framing.

        ``timeout`` is in seconds, None for ever; TimeoutError when nothing whole has come by
        then, and nothing is lost. At the end of the stream raises ConnectionClosed, whose
        ``reason`` is "unfinished message" if the peer has closed in the middle of one;
        ProtocolError when the peer announces more than ``message_bytes_max``.
        """
        return self.recv_some(1, timeout_ns(timeout), timeout)[0]

    def recv_many(self, count_max, *, timeout=None):
        """The next messages, a list of 1 to ``count_max``: waits for the first and takes, without
        waiting, those that have arrived behind it. Raises as ``recv`` does."""
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
        """Receives the next message into a writable buffer and returns how many bytes it has.

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
        cdef bint direct = self.codec.name != fs_codec_line.name
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
        """Reads a header, if the framing has one, and what follows it into place.

        *message_len is the message's length when it is whole there, else -1: what was read is then
        with the received bytes. False: the time is over.
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
                    wanted = header_len + message_len_of(header)
                if wanted > header_len + min(size, self.message_bytes_max):
                    break
                whole = got >= max(wanted, max(header_len, <size_t>1))
        finally:
            self.keep_received(header, header_len, place, got, wanted if whole else 0)
        message_len[0] = <ssize_t>(wanted - header_len) if whole else -1
        return in_time

    cdef int keep_received(self, const uint8_t *header, size_t header_len, const uint8_t *place,
                           size_t got, size_t used) except -1:
        """Keeps what was read beyond the first used bytes, which lies in header and place."""
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
        """Reads once more: True, or the time is over: False."""
        cdef ssize_t received
        cdef size_t room
        if self.received.start == self.received.end:
            self.received.start = self.received.end = 0
        buffer_reserve(&self.received, READ_BYTES)
        room = self.received.cap - self.received.end
        # Where the last look emptied the socket, the next finds nothing: it waits first.
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
        """The peer's stream has ended: so has its last line, if that is wanted: True."""
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
        """Sends what waits, and says to the peer that nothing more follows: shutdown(2).

        ``recv`` and iteration go on until the peer ends, too; ``close()`` would throw away what
        it still says. A send raises ConnectionClosed from now on. Raises as ``send`` does.
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
        """Gives the socket away: closes this object, and returns the descriptor, which is now the
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
        """Sends what waits, shuts our side, and reads to the peer's end, all within timeout."""
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

    def _held(self):
        return "" if self.fd < 0 else "its connection and what it has not sent"

    def _disown(self):
        """In a forked child: closes its copy of the descriptor, and nothing else; the parent goes
        on. Threads that are the parent's alone may hold the locks."""
        self.send_lock = Lock()
        self.recv_lock = Lock()
        self.disowned = True
        self.closing = True
        self.users = 1
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

    def fileno(self):
        """The descriptor of the socket; -1 after close. It may be waited on, not read.

        It is readable when bytes arrive, which may be a part of a message, or several: after each
        time, call ``recv(timeout=0)`` until it raises TimeoutError, or while ``pending`` says so.
        """
        return self.fd

    @property
    def pending(self):
        """How many messages ``recv`` hands out without looking at the socket: those that have
        arrived whole behind one that was received. Of these ``fileno`` tells nothing any more.

        A message that is refused because it is too big counts as one. 0 says that it is time to
        wait for ``fileno``, also when a part of a message is there.
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

    @property
    def closed(self):
        """Whether it is over: closed by this side, or its end was received."""
        return self.closing or self.ended

    @property
    def address(self):
        """This side's address: ``(host, port)``, or the path of a UNIX socket, mostly ``""``."""
        cdef fs_addr addr
        cdef int result = fs_sys_local_addr(self.fd, &addr)
        if result < 0:
            raise_code(result, "getsockname")
        return addr_object(&addr)
