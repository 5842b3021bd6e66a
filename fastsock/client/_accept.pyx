"""A listening socket that waits for callers without the GIL."""

from fastsock.core.closing import warn_dropped
from fastsock.errors import ServerClosed
from fastsock.core.forking import disown_in_children, foreign

from libc.errno cimport EAGAIN

from fastsock.core._convert cimport addr_object, fill_addr, raise_code, wait_ready
from fastsock.posix._syscall cimport timeout_ns
from fastsock._csrc cimport *

cdef extern from "<poll.h>" nogil:
    short POLLIN

cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_RDWR
    int shutdown(int fd, int how)


cdef class Listener:
    """Binds and listens at once, to an address of fastsock.core.address.resolve.

    fd is closed by the last call that uses it, so that close() may come at any time.
    """

    cdef object __weakref__
    cdef int fd, users
    cdef bint opened  # fd is ours; not where the arguments were refused, before __cinit__ ran
    cdef bint shutting, closing, disowned

    def __cinit__(self, family, sockaddr, int backlog):
        cdef fs_addr addr
        fill_addr(&addr, family, sockaddr)
        cdef int result = fs_sys_listen(&addr, backlog)
        if result < 0:
            raise_code(result, "listen")
        self.fd = result
        self.opened = True
        disown_in_children(self)

    def __del__(self):
        if self.opened and not self.closing:
            try:
                warn_dropped(self, "its port")
            finally:
                self.close()

    def __dealloc__(self):
        self.closing = True
        self.let_go()

    def _disown(self):
        """In a forked child: closes its copy of the descriptor; the parent goes on listening."""
        self.disowned = self.shutting = self.closing = True
        self.users = 0
        self.let_go()

    cdef int require_open(self) except -1:
        if self.disowned:
            raise foreign("server")
        if self.shutting:
            raise ServerClosed("the server is closed")
        return 0

    def accept(self, timeout):
        """Waits for a caller: a descriptor, non-blocking and now the user's, and its address.

        Raises TimeoutError after timeout seconds, ServerClosed after ``shut``, and OSError.
        """
        cdef int64_t limit = timeout_ns(timeout)
        cdef uint64_t begun = fs_sys_now_ns()
        self.users += 1
        try:
            return self.wait_for_caller(limit, begun, timeout)
        finally:
            self.users -= 1
            self.let_go()

    cdef object wait_for_caller(self, int64_t limit, uint64_t begun, timeout):
        cdef fs_addr peer
        cdef int result
        while True:
            self.require_open()
            result = fs_sys_accept(self.fd, &peer)
            if result >= 0:
                return result, addr_object(&peer)
            if result != -EAGAIN:
                raise_code(result, "accept")
            if not wait_ready(self.fd, POLLIN, limit, begun):
                raise TimeoutError(f"nobody has connected after {timeout} s")

    def shut(self):
        """Ends every ``accept``, now and later; callers are refused. Any thread may call it."""
        self.shutting = True
        if self.opened:
            shutdown(self.fd, SHUT_RDWR)

    def close(self):
        """Shuts it, and closes the descriptor when the last ``accept`` has ended. Idempotent."""
        self.shut()
        self.closing = True
        self.let_go()

    cdef void let_go(self) noexcept:
        if self.closing and self.users == 0 and self.opened:
            fs_sys_close(self.fd)
            self.opened = False
            self.fd = -1

    def fileno(self):
        """The descriptor, to be waited on; -1 after ``close``."""
        return self.fd

    @property
    def address(self):
        """Where it listens: ``(host, port)``, or the path of a UNIX socket."""
        cdef fs_addr addr
        cdef int result = fs_sys_local_addr(self.fd, &addr)
        if result < 0:
            raise_code(result, "getsockname")
        return addr_object(&addr)
