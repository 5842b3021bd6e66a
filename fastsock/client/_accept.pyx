"""Listening sockets whose callers are waited for without the GIL."""

import os
import select

from fastsock.core.closing import warn_dropped
from fastsock.core.forking import disown_in_children, foreign
from fastsock.errors import ServerClosed

from libc.errno cimport EAGAIN, ECONNABORTED

from fastsock.core._convert cimport addr_object, raise_code
from fastsock._csrc cimport *

cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_RDWR
    int shutdown(int fd, int how)

# The most that poll(2) takes.
cdef long LONGEST_MS = 2**31 - 1


cdef class Listener:
    """Takes over listening sockets that do not block; the first own_count of them are shut down by
    ``shut``, the others may be other processes', too.

    The descriptors are closed by the last call that uses them, so that close() may come at any
    time. What is needed to wait, to wake and to refuse is made at the start.
    """

    cdef object __weakref__
    cdef fs_listeners set
    cdef int own_count, users
    cdef int woken_fd, wake_fd  # a pipe
    cdef bint opened  # the descriptors are ours
    cdef bint shutting, closing, disowned
    cdef uint64_t refused
    cdef tuple watched
    cdef object refusals

    def __cinit__(self, list fds, int own_count, refusals):
        cdef int listen_fds[FS_LISTENERS_MAX]
        cdef int result
        cdef uint32_t i, count = min(len(fds), FS_LISTENERS_MAX)
        for i in range(count):
            listen_fds[i] = fds[i]
        woken_fd, wake_fd = os.pipe()
        result = fs_listeners_open(&self.set, listen_fds, count)
        if result < 0:
            os.close(woken_fd)
            os.close(wake_fd)
            raise_code(result, "listen")
        self.woken_fd = woken_fd
        self.wake_fd = wake_fd
        self.watched = (*fds, woken_fd)
        self.own_count = own_count
        self.refusals = refusals
        self.opened = True
        disown_in_children(self)

    def __del__(self):
        if self.opened and not self.closing:
            try:
                warn_dropped(self, "its port")
            finally:
                self.close()

    def __dealloc__(self):
        self.close_all()

    cdef void close_all(self) noexcept:
        if self.opened:
            self.opened = False
            fs_listeners_close(&self.set)
            fs_sys_close(self.woken_fd)
            fs_sys_close(self.wake_fd)

    def _disown(self):
        """In a forked child: closes its copies of the descriptors; the parent goes on listening."""
        self.disowned = self.shutting = self.closing = True
        self.close_all()

    cdef int require_open(self) except -1:
        if self.disowned:
            raise foreign("server")
        if self.shutting:
            raise ServerClosed("the server is closed")
        return 0

    def take(self):
        """One who waits already: a descriptor, non-blocking and now the user's, and its address; or
        None. A caller for whom no descriptor is left is closed, and the log told. Raises
        ServerClosed after ``shut``, and OSError."""
        cdef fs_addr peer
        cdef int result = self.next_caller(&peer)
        if result == -EAGAIN:
            return None
        if result < 0:
            raise_code(result, "accept")
        return result, addr_object(&peer)

    cdef int next_caller(self, fs_addr *peer) except? -1:
        """See fs_listeners_accept."""
        cdef int result
        cdef uint32_t i
        while True:
            self.require_open()
            for i in range(self.set.count):
                fs_listeners_note(&self.set, i)
            result = fs_listeners_accept(&self.set, peer)
            if result == FS_EREFUSED:
                self.refused += 1
                self.refusals.tell(self.refused)
            elif result != -ECONNABORTED:
                return result

    def wait(self, timeout):
        """Waits until somebody calls, ``wake`` or ``shut`` was called, or for timeout seconds."""
        if not self.opened or self.shutting:
            return
        self.users += 1
        try:
            poll = select.poll()
            for fd in self.watched:
                poll.register(fd, select.POLLIN)
            poll.poll(None if timeout is None else min(1e3 * timeout, LONGEST_MS))
        finally:
            self.leave()

    def wake(self):
        """Ends every ``wait``, now and until ``calm``. Any thread may call it."""
        if self.opened:
            self.users += 1
            try:
                os.write(self.wake_fd, b"!")
            finally:
                self.leave()

    def calm(self):
        """Takes back one ``wake``; that of ``shut`` stays."""
        if self.opened:
            self.users += 1
            try:
                os.read(self.woken_fd, 1)
            finally:
                self.leave()

    def shut(self):
        """Ends every ``wait`` and ``take``, now and later; callers are refused. Any thread may call
        it."""
        if not self.shutting:
            self.shutting = True
            self.wake()
        if self.opened:
            for i in range(min(self.own_count, <int>self.set.count)):
                shutdown(self.set.all[i].fd, SHUT_RDWR)

    def close(self):
        """Shuts it, and closes the descriptors when the last ``wait`` has ended. Idempotent."""
        self.shut()
        self.closing = True
        if self.users == 0:
            self.close_all()

    cdef void leave(self) noexcept:
        self.users -= 1
        if self.closing and self.users == 0:
            self.close_all()
