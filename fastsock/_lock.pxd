cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    enum: NOWAIT_LOCK
    int PyThread_acquire_lock(PyThread_type_lock lock, int waits)
    void PyThread_release_lock(PyThread_type_lock lock)


cdef class Lock:
    cdef PyThread_type_lock mutex
    cdef bint held

    cdef inline int take(self) except -1:
        """As acquire(), in a few instructions where nobody holds it."""
        if not PyThread_acquire_lock(self.mutex, NOWAIT_LOCK):
            self.wait(-1)
        self.held = True
        return 0

    cdef inline bint try_take(self) noexcept:
        """As acquire(blocking=False)."""
        if not PyThread_acquire_lock(self.mutex, NOWAIT_LOCK):
            return False
        self.held = True
        return True

    cdef inline void give(self) noexcept:
        """As release(), for who holds it."""
        self.held = False
        PyThread_release_lock(self.mutex)

    cdef bint wait(self, double timeout) except -1
