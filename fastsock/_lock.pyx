"""A lock whose hot side is C's: threading.Lock costs Cython code several hundred instructions for
each ``with``."""

from time import monotonic

from cpython.exc cimport PyErr_CheckSignals

cdef extern from "pythread.h" nogil:
    ctypedef enum PyLockStatus:
        PY_LOCK_FAILURE
        PY_LOCK_ACQUIRED
        PY_LOCK_INTR

    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds,
                                             int intr_flag)

cdef enum:
    # Seconds that one wait takes at most: a microsecond count that the C side takes.
    WAIT_MAX = 1_000_000


cdef class Lock:
    """As :class:`threading.Lock`, on which it is modelled."""

    def __cinit__(self):
        self.mutex = PyThread_allocate_lock()
        if self.mutex is NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.mutex is not NULL:
            PyThread_free_lock(self.mutex)

    cdef bint wait(self, double timeout) except -1:
        """Waits for at most that many seconds, -1 for ever; False when they are over. Signals are
        heard meanwhile."""
        cdef double until = monotonic() + timeout, left = WAIT_MAX
        cdef PyLockStatus status = PY_LOCK_FAILURE
        while True:
            if timeout >= 0:
                left = max(0.0, min(<double>WAIT_MAX, until - <double>monotonic()))
            with nogil:
                status = PyThread_acquire_lock_timed(self.mutex, <long long>(left * 1e6), 1)
            if status == PY_LOCK_ACQUIRED:
                return True
            if status == PY_LOCK_INTR:
                PyErr_CheckSignals()
            elif timeout >= 0 and monotonic() >= until:
                return False

    def acquire(self, bint blocking=True, double timeout=-1.0):
        """Takes the lock; False if it is held by somebody else still after ``timeout`` seconds (-1:
        for ever), or at once where it is not ``blocking``."""
        if self.try_take():
            return True
        if not blocking or not self.wait(timeout):
            return False
        self.held = True
        return True

    def release(self):
        """Gives it back. RuntimeError if nobody holds it."""
        if not self.held:
            raise RuntimeError("release of a lock that nobody holds")
        self.give()

    def __enter__(self):
        self.take()

    def __exit__(self, *_):
        self.give()
