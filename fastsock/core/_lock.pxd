from cpython.pythread cimport PyThread_get_thread_ident

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    void PyThread_release_lock(PyThread_type_lock lock)


cdef class Lock:
    # All fields are changed with the GIL held, so taking and giving back are plain stores.
    # owner: the thread that holds it, 0 for none. bell: taken, but while it is rung for one of
    # those that wait, which looks again then.
    cdef PyThread_type_lock bell
    cdef unsigned long owner
    cdef int waiting
    cdef bint rung

    cdef inline int take(self) except -1:
        """As acquire(), in a few instructions if nobody holds it."""
        if not self.try_take():
            self.wait(-1)
        return 0

    cdef inline bint try_take(self) noexcept:
        """As acquire(blocking=False)."""
        if self.owner != 0:
            return False
        self.owner = PyThread_get_thread_ident()
        return True

    cdef inline void give(self) noexcept:
        """As release(), for the one that holds it."""
        self.owner = 0
        if self.waiting and not self.rung:
            self.rung = True
            PyThread_release_lock(self.bell)

    cdef bint wait(self, double timeout) except -1
