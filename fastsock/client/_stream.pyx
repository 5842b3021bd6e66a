"""The descriptor of one connection: opening, use by threads, waiting and closing."""

from fastsock.errors import ConnectionClosed
from fastsock.core.forking import disown_in_children, foreign

from libc.errno cimport EPIPE
from libc.stdlib cimport free

from fastsock.core._convert cimport (
    fill_addr,
    local_address,
    raise_code,
    time_left,
    wait_ready,
)
from fastsock.core._framing cimport codec_of
from fastsock._csrc cimport *
from fastsock.core._lock cimport Lock
from fastsock.posix._syscall cimport timeout_ns


cdef enum:
    # Sleeping and waking take about as long, in time and in CPU time: to spin no longer than that
    # before sleeping costs at most as much again.
    ADAPTIVE_NS = 50_000

    MISSES_MAX = 6


cdef class Stream:
    """A connected socket and its options.

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
        """Connect; OSError says why it cannot, TimeoutError after timeout seconds. options: a
        StreamOptions."""
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
        """Take over a connected socket that does not block. options: a StreamOptions."""
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
        self.codec = codec_of(options.framing)
        self.by_line = options.framing == "line"
        self.by_length = options.framing == "length"
        self.final_line = options.final_line
        self.message_bytes_max = options.message_bytes_max
        self.outbox_bytes_max = options.outbox_bytes_max
        self.adaptive = options.busy_poll_us is None
        self.closing = False
        disown_in_children(self)
        self.spin_ns = ADAPTIVE_NS
        if not self.adaptive:
            self.spin_ns = 1000 * <int64_t>options.busy_poll_us
        return 0

    cdef int enter(self, Lock side, int64_t limit, uint64_t begun) except -1:
        """Begin to send, or to receive, once no other thread does. RuntimeError if this one does: a
        signal handler or destructor has interrupted it."""
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
        """Wait as wait_ready does, but spin for busy_poll_us first if input is waited for."""
        if events == POLLIN and self.spin_ns and self.spin_first(time_left(limit, begun)):
            return True
        return wait_ready(self.fd, events, limit, begun)

    cdef bint spin_first(self, int64_t left) noexcept:
        """Spin briefly for input and return whether any came. In adaptive mode each fruitless spin
        doubles the number of waits that skip spinning."""
        cdef bint found
        if left == 0:
            return False
        if self.skips_left:
            self.skips_left -= 1
            return False
        found = self.spin(left)
        if self.adaptive:
            self.misses = 0 if found else min(self.misses + 1, MISSES_MAX)
            self.skips_left = (1 << self.misses) - 1
        return found

    cdef bint spin(self, int64_t left) noexcept:
        """Spin for busy_poll_us, at most left nanoseconds; return whether there is input."""
        cdef uint64_t until = fs_sys_now_ns() + (
            self.spin_ns if left < 0 else min(left, self.spin_ns))
        cdef int result = 0
        with nogil:
            while result == 0 and fs_sys_now_ns() < until:
                result = fs_sys_poll(self.fd, POLLIN, 0)
        return result > 0

    cdef int raise_ended(self, int error) except -1:
        """Raise ConnectionClosed. error: that of the failed call, 0 at the end of the stream."""
        if self.closing:
            raise ConnectionClosed("the connection is closed", "local")
        if self.finished and error == -EPIPE:
            self.unsent.start = self.unsent.end = 0
            raise ConnectionClosed("nothing can be sent after finish()", "local")
        self.ended = True
        raise ConnectionClosed("closed by peer" if error == 0 or error == -EPIPE
                               else "reset by peer", "peer")

    def _held(self):
        return "" if self.fd < 0 else "its connection and what it has not sent"

    def _disown(self):
        """Close a forked child's copy of the descriptor, and nothing else; the parent goes on.
        Threads that are the parent's alone may hold the locks."""
        self.send_lock = Lock()
        self.recv_lock = Lock()
        self.disowned = True
        self.closing = True
        self.users = 1
        self.let_go()

    def fileno(self):
        """Return the descriptor of the socket; -1 after close. It may be waited on, not read.

        It is readable when bytes arrive, which may be a part of a message, or several messages:
        each time, call ``recv(timeout=0)`` until it raises TimeoutError, or while ``pending`` says
        that there are more.
        """
        return self.fd

    @property
    def closed(self):
        """Whether it is over: closed by this side, or its end was received."""
        return self.closing or self.ended

    @property
    def address(self):
        """This side's address: ``(host, port)``, or the path of a UNIX socket, mostly ``""``."""
        return local_address(self.fd)
