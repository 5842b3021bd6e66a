"""A lock whose hot side is C's: threading.Lock costs Cython code several hundred instructions for
each ``with``. It knows the thread that holds it, which can therefore not wait for itself."""

from time import monotonic

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "pythread.h" nogil:
    ctypedef enum PyLockStatus:
        PY_LOCK_FAILURE
        PY_LOCK_ACQUIRED
        PY_LOCK_INTR

    enum: NOWAIT_LOCK
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int waits)
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds,
                                             int intr_flag)

cdef enum:
    # Seconds that one wait takes at most: a microsecond count that the C side takes.
    WAIT_MAX = 1_000_000


cdef class Lock:
    """As :class:`threading.Lock`, on which it is modelled, but for a thread that would wait for
    itself: that fails at once."""

    def __cinit__(self):
        self.bell = PyThread_allocate_lock()
        if self.bell is NULL:
            raise MemoryError
        PyThread_acquire_lock(self.bell, NOWAIT_LOCK)

    def __dealloc__(self):
        if self.bell is not NULL:
            PyThread_free_lock(self.bell)

    cdef bint wait(self, double timeout) except -1:
        """Takes it as soon as nobody holds it; False if that takes more than so many seconds, -1:
        no limit. Signal handlers run in between. RuntimeError if this thread holds it."""
        cdef double until = monotonic() + timeout, left = WAIT_MAX
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef PyLockStatus status
        self.waiting += 1
        try:
            while self.owner != 0:
                if self.owner == me:
                    raise RuntimeError("this thread is in the same call already; a signal handler,"
                                       " __del__ or callback must not make it once more")
                if timeout >= 0:
                    left = min(<double>WAIT_MAX, until - <double>monotonic())
                    if left <= 0:
                        return False
                with nogil:
                    status = PyThread_acquire_lock_timed(self.bell, <long long>(left * 1e6) + 1, 1)
                if status == PY_LOCK_ACQUIRED:
                    self.rung = False
                elif status == PY_LOCK_INTR:
                    PyErr_CheckSignals()
        finally:
            self.waiting -= 1
        self.owner = me
        return True

    @property
    def mine(self):
        """Whether the calling thread holds it."""
        return self.owner == PyThread_get_thread_ident()

    def acquire(self, bint blocking=True, double timeout=-1.0):
        """Takes the lock; False if another thread holds it still after ``timeout`` seconds (-1: no
        limit), or at once if it is not ``blocking``.

        If the calling thread holds it itself, waiting would be in vain: then False at once, and
        RuntimeError without a ``timeout``. ValueError for a timeout that cannot be.
        """
        if timeout != -1 and not 0 <= timeout <= 1e9:
            raise ValueError(f"timeout must be -1 or from 0 to 1e9 seconds, not {timeout!r}")
        if not blocking and timeout != -1:
            raise ValueError("a call that is not blocking has no timeout")
        if self.try_take():
            return True
        return blocking and not (timeout >= 0 and self.mine) and self.wait(timeout)

    def release(self):
        """Gives it back; any thread may. RuntimeError if nobody holds it."""
        if self.owner == 0:
            raise RuntimeError("release of a lock that nobody holds")
        self.give()

    def __enter__(self):
        self.take()

    def __exit__(self, *_):
        self.give()
