"""What a program says to the clients of a server: to all of them, or to one."""

from fastsock.errors import ConnectionClosed

cimport cython

from fastsock.server._connection cimport Connection, Host
from fastsock.posix._syscall cimport check_given, whole


@cython.no_gc_clear
cdef class Speaking(Host):
    """Has the connections and channels of a server; each connection is one object."""

    def __cinit__(self):
        self.connections_by_number = {}
        self.channels = []

    cdef Connection connection_of(self, uint64_t handle, uint64_t number):
        """Return the one object of a connection, made at the first call."""
        cdef Connection made
        # Messages come in runs from one connection.
        if self.recent is not None and self.recent.number == number:
            return self.recent
        conn = self.connections_by_number.get(number)
        if conn is None:
            made = Connection.__new__(Connection)
            made.engine = self
            made.handle = handle
            made.number = number
            # Another thread may have made it in the meantime: one connection is one object.
            conn = self.connections_by_number.setdefault(number, made)
        self.recent = <Connection>conn
        return self.recent

    def broadcast(self, data, *, Connection exclude=None, timeout=None):
        """Publish one message to every client except the connection ``exclude``.

        data: bytes-like, of at most ``message_bytes_max`` bytes. Returns its sequence number.
        Any thread may call it. A server that has no thread of its own flushes when 64 KiB are
        queued, and at the next ``poll`` or ``flush``. If the log is full, waits until there is
        room, for at most ``timeout`` seconds (None: no limit).

        Raises MessageTooBig, ValueError for a newline inside a line, ServerClosed, and LogFull
        when the time is over; then nothing was published.
        """
        check_given(timeout)
        return self.publish(0, data, exclude, timeout)

    def broadcast_many(self, messages, *, timeout=None):
        """Publish the messages of an iterable, in order, under one lock as far as there is room.

        Returns the sequence number of the last one, or None if there was none. All are checked
        before the first is published. Raises as ``broadcast`` does; LogFull says how many were
        published by then.
        """
        check_given(timeout)
        return self.publish_many(0, messages, timeout)

    def send(self, conn, data, *, timeout=None):
        """Queue one message for one client: a Connection, or its number.

        As ``Connection.send``: returns False if the connection has ended, or no open connection
        has the number. The message comes behind all that was published before.
        """
        check_given(timeout)
        if not isinstance(conn, Connection):
            conn = self.find(conn)
            if conn is None:
                return False
        return self.send_to(<Connection>conn, data, timeout)

    def connection(self, number):
        """Return the open connection of that number. Raises ConnectionClosed if there is none."""
        conn = self.find(number)
        if conn is None:
            raise ConnectionClosed(f"no connection has the number {number}", "local", number)
        return conn

    cdef object find(self, number):
        """Return the connection of that number, even before its event was made; or None."""
        if not isinstance(number, int):
            number = whole("number", number)
        conn = self.connections_by_number.get(number)
        if conn is None:
            return next((one for one in self.connections if one.number == number), None)
        return conn
