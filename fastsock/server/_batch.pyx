"""Several messages for one call of the engine."""

from cpython.buffer cimport PyObject_CheckBuffer
from libc.stdlib cimport free, malloc

from fastsock.core._convert cimport refuse_data
from fastsock._csrc cimport fs_outgoing


cdef class Batch:
    """Where the messages of an iterable lie; holds their buffers until it is freed."""

    def __cinit__(self, messages):
        cdef const unsigned char[::1] view
        self.views = []
        for message in messages:
            if not PyObject_CheckBuffer(message):
                refuse_data(message)
            self.views.append(memoryview(message).cast("B"))
        self.count = len(self.views)
        self.all = <fs_outgoing *>malloc(max(<size_t>1, self.count) * sizeof(fs_outgoing))
        if self.all is NULL:
            raise MemoryError
        for i in range(self.count):
            view = self.views[i]
            self.all[i].message.len = view.shape[0]
            self.all[i].message.data = &view[0] if view.shape[0] else NULL

    def __dealloc__(self):
        free(self.all)
