"""The fields of a call's context, as cheap to make as C can."""


cdef class ContextCore:
    """What :class:`fastsock.rpc.Context` is made of."""

    cdef readonly object peer, method, metadata, deadline
    cdef public object _cancelled, _callbacks, _stream

    def __cinit__(self, peer, method, metadata, deadline):
        self.peer = peer
        self.method = method
        self.metadata = metadata
        self.deadline = deadline
