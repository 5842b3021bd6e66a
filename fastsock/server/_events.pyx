"""What happens to connections, as Python objects."""

from fastsock.server.reason import Reason

cimport cython
from libc.stdint cimport INT64_MAX, uint64_t

from fastsock.posix._syscall cimport number_in


# Every turn makes and drops as many messages. The freelist spares them the allocator, and the count
# of new objects that would start the garbage collector several times a turn. It keeps only objects
# as large as this base, so that a frequent event must not have a field of its own.
@cython.freelist(4096)
cdef class Event:
    """Something that happened to a connection: ``Connected``, ``Message``, ``Gap`` or
    ``Disconnected``."""

    def __hash__(self):
        return hash((type(self), self._key()))

    def __eq__(self, other):
        return type(self) is type(other) and self._key() == (<Event>other)._key()

    def _key(self):
        return (self.conn,)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(map(repr, self._key()))})"


@cython.final
cdef class Connected(Event):
    """A client has connected. ``conn`` is its connection."""

    __match_args__ = ("conn",)

    def __init__(self, conn):
        self.conn = conn


@cython.final
cdef class Message(Event):
    """A client has sent ``data``, one message without its framing."""

    __match_args__ = ("conn", "data")

    def __init__(self, conn, bytes data not None):
        self.conn = conn
        self.detail = data

    @property
    def data(self):
        return self.detail

    def _key(self):
        return (self.conn, self.detail)


@cython.final
cdef class Gap(Event):
    """A connection has lost ``lost`` messages of a channel, because it was too slow for its
    policy ``"drop_oldest"``. ``channel`` is the channel's name, ``""`` for the server's own."""

    __match_args__ = ("conn", "channel", "lost")

    def __init__(self, conn, str channel not None, lost):
        self.conn = conn
        self.detail = channel
        self.lost = number_in("lost", lost, 0, INT64_MAX)

    @property
    def channel(self):
        return self.detail

    def _key(self):
        return (self.conn, self.detail, self.lost)


@cython.final
cdef class Disconnected(Event):
    """A connection has ended; ``reason`` is a :class:`Reason`, a str that says why."""

    __match_args__ = ("conn", "reason")

    def __init__(self, conn, reason):
        self.conn = conn
        self.detail = Reason(reason)

    @property
    def reason(self):
        return self.detail

    def _key(self):
        return (self.conn, self.detail)
