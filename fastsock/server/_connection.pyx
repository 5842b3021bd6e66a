"""What a server hands its user: connections and channels. Each asks the server that made it."""

cimport cython

from fastsock.posix._syscall cimport check_given


cdef class Host:
    """What connections and channels ask of their server. Its engine derives from it."""

    cdef object publish(self, uint32_t channel, data, Connection exclude, timeout):
        raise NotImplementedError

    cdef object publish_many(self, uint32_t channel, messages, timeout):
        raise NotImplementedError

    cdef bint subscribe(self, Channel channel, Connection conn, timeout) except -1:
        raise NotImplementedError

    cdef bint unsubscribe(self, Channel channel, Connection conn) except -1:
        raise NotImplementedError

    cdef bint send_to(self, Connection conn, object data, timeout) except -1:
        raise NotImplementedError

    cdef int close_one(self, Connection conn) except -1:
        raise NotImplementedError

    cdef int trust(self, Connection conn) except -1:
        raise NotImplementedError

    cdef object peer_of(self, uint64_t handle):
        raise NotImplementedError

    cdef object local_of(self, Connection conn):
        raise NotImplementedError

    cdef object connection_stats(self, Connection conn):
        raise NotImplementedError


cdef inline Host made_by(Host engine):
    """Return the engine of a connection or channel; TypeError if no server has made it."""
    if engine is None:
        raise TypeError("this object was made by __new__: connections and channels are made by"
                        " their server")
    return engine


# ---- Connections ----

@cython.final
cdef class Connection:
    """One client of a server. Made by the server, never by the user.

    ``number`` is 1, 2, 3 ... in the order of connecting, never used again. ``context`` is the
    user's own: any object. ``reason`` is None until the connection has ended, then a
    :class:`Reason`.
    """

    def __init__(self):
        raise TypeError("connections are made by their server")

    @property
    def peer(self):
        """The address of the other side: ``(host, port)``, or the path of a UNIX socket, which
        for most clients is ``""``."""
        # Kept from the end on only: many idle connections would keep many addresses.
        return made_by(self.engine).peer_of(self.handle) if self._peer is None else self._peer

    @property
    def address(self):
        """The address of this side, to which the client has connected: ``(host, port)`` or a
        path. Raises ConnectionClosed when the connection has ended."""
        return made_by(self.engine).local_of(self)

    def send(self, data, *, timeout=None):
        """Queue one message for this client, behind all that was published before.

        Returns whether it was queued: False if the connection has ended, which can happen at any
        time and is reported by ``Disconnected``. If ``outbox_bytes_max`` are queued already, waits
        for room, for at most ``timeout`` seconds (None: no limit, in a handler
        ``handler_timeout``); then raises LogFull, and the message was not queued. For data that
        cannot be sent it raises what ``broadcast`` raises.
        """
        check_given(timeout)
        return made_by(self.engine).send_to(self, data, timeout)

    def close(self):
        """Close the connection once all that is queued for it is with its kernel. Idempotent.

        No more of its messages reach a handler or a loop, not even those that have arrived.
        """
        made_by(self.engine).close_one(self)

    def _trust(self):
        """Let it send messages of ``message_bytes_max`` from now on: see Tuning.first_bytes_max."""
        made_by(self.engine).trust(self)

    def stats(self):
        """Return the figures of this connection, a :class:`fastsock.ConnectionStats`.

        Raises ConnectionClosed after its end.
        """
        return made_by(self.engine).connection_stats(self)

    def __repr__(self):
        return f"<Connection {self.number} {self.peer!r}>"


# ---- Channels ----

@cython.final
cdef class Channel:
    """A log of its own, for the connections that subscribe to it. Made by the server.

    ``name`` is the one it was made with. Messages of one channel keep their order; there is no
    order between channels, nor between a channel and the server's own broadcasts.
    """

    def __init__(self):
        raise TypeError("channels are made by server.channel(name)")

    def subscribe(self, Connection conn not None, *, timeout=None):
        """Send the connection what is published here from now on. Idempotent.

        Any thread may call it. Returns False, and does nothing, if the connection has ended. If
        the connection's outbox has no room to note it, waits for room as ``Connection.send``
        does, for at most ``timeout`` seconds; then raises LogFull.
        """
        check_given(timeout)
        return made_by(self.engine).subscribe(self, conn, timeout)

    def unsubscribe(self, Connection conn not None):
        """Send the connection nothing that is published here after this call. Idempotent.

        What was published before still goes out. Returns what ``subscribe`` returns. Never waits.
        """
        return made_by(self.engine).unsubscribe(self, conn)

    def publish(self, data, *, Connection exclude=None, timeout=None):
        """Publish one message to all subscribers, as ``MultiServer.broadcast`` does."""
        check_given(timeout)
        return made_by(self.engine).publish(self.number, data, exclude, timeout)

    def publish_many(self, messages, *, timeout=None):
        """Publish several messages, as ``MultiServer.broadcast_many`` does."""
        check_given(timeout)
        return made_by(self.engine).publish_many(self.number, messages, timeout)

    def __repr__(self):
        return f"<Channel {self.name!r}>"
