"""What a server hands its user: connections and channels. Each asks the server's engine."""

cimport cython

from fastsock.posix._syscall cimport check_given
from fastsock.server._engine cimport Engine


cdef inline Engine made_by(Engine engine):
    """The engine of a connection or channel; TypeError if no server has made it."""
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
        """The address of our own side, at which the client has connected: ``(host, port)`` or a
        path. Raises ConnectionClosed when the connection has ended."""
        return made_by(self.engine).local_of(self)

    def send(self, data, *, timeout=None):
        """Queues one message for this client, behind all that was published before.

        Returns whether it was queued: False when the connection has ended, which can happen at any
        time and which ``Disconnected`` tells. If ``outbox_bytes_max`` wait for it already, waits
        for room, for at most ``timeout`` seconds (None: as long as it takes, in a handler
        ``handler_timeout``); then LogFull says that it was not queued. Raises what ``broadcast``
        raises for data that cannot be sent.
        """
        check_given(timeout)
        return made_by(self.engine).send_to(self, data, timeout)

    def close(self):
        """Closes the connection when all that is queued for it is with its kernel. Idempotent.

        No more messages of it reach a handler or a loop, also none that have arrived already.
        """
        made_by(self.engine).close_one(self)

    def _trust(self):
        """From now on it may send messages of ``message_bytes_max``: see Engine._trust."""
        made_by(self.engine)._trust(self)

    def stats(self):
        """Figures of this connection, as :class:`fastsock.ConnectionStats`; raises
        ConnectionClosed after its end."""
        return made_by(self.engine).connection_stats(self)

    def __repr__(self):
        return f"<Connection {self.number} {self.peer!r}>"


# ---- Channels ----

@cython.final
cdef class Channel:
    """A log of its own, for those connections that subscribe to it. Made by the server.

    ``name`` is the one it was made with. Order holds within a channel; nothing is promised
    between a channel and another, or the server's own broadcasts.
    """

    def __init__(self):
        raise TypeError("channels are made by server.channel(name)")

    def subscribe(self, Connection conn not None, *, timeout=None):
        """From now on the connection gets what is published here. Twice is once.

        Any thread may call it. Returns False, and does nothing, when the connection has ended. If
        so much waits for the connection that there is no room to note it, waits for room, for at
        most ``timeout`` seconds, as ``Connection.send`` does; then LogFull.
        """
        check_given(timeout)
        return made_by(self.engine).subscribe(self, conn, timeout)

    def unsubscribe(self, Connection conn not None):
        """The connection gets what was published here until now, and nothing after that.

        Returns what ``subscribe`` returns. Never waits. Doing it twice, or without subscription, does
        nothing.
        """
        return made_by(self.engine).unsubscribe(self, conn)

    def publish(self, data, *, Connection exclude=None, timeout=None):
        """Publishes one message to those who subscribe; as ``MultiServer.broadcast``."""
        check_given(timeout)
        return made_by(self.engine).publish(self.number, data, exclude, timeout)

    def publish_many(self, messages, *, timeout=None):
        """Publishes several; as ``MultiServer.broadcast_many``."""
        check_given(timeout)
        return made_by(self.engine).publish_many(self.number, messages, timeout)

    def __repr__(self):
        return f"<Channel {self.name!r}>"
