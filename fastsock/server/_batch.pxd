from fastsock._csrc cimport fs_outgoing


cdef class Batch:
    cdef fs_outgoing *all
    cdef size_t count
    cdef list views
