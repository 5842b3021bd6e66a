cdef class ContextCore:
    # _ends: who hears how the call has ended, None if nobody does.
    cdef readonly object peer, method, metadata, deadline
    cdef public object _cancelled, _callbacks, _stream, _ends
