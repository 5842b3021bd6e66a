"""The fields of a call's context, as cheap to make as C can."""


cdef class ContextCore:
    """What :class:`fastsock.rpc.Context` is made of."""

    def __cinit__(self, peer, method, metadata, deadline):
        self.peer = peer
        self.method = method
        self.metadata = metadata
        self.deadline = deadline
