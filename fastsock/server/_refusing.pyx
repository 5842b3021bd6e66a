"""Errors of sending and publishing that name the connection in the way."""

from fastsock.errors import ConnectionClosed, LogFull, SlowConsumer
from fastsock.server.reason import Reason

from fastsock._csrc cimport fs_slowest
from fastsock.server._config cimport policy_name
from fastsock.server._connection cimport Connection
from fastsock.server._dispatch cimport REASONS


cdef int refuse_for_outbox(str what, object options, Connection conn) except -1:
    """Raise LogFull: the outbox of conn is full."""
    raise LogFull(f"{what}: outbox_bytes_max = {options.outbox_bytes_max} wait for"
                  f" connection {conn.number} {conn.peer!r}", conn.number)


cdef int refuse_for_log(str what, str log, const fs_slowest *last, object peer) except -1:
    """Raise LogFull: the log is full, and last is the connection that is farthest behind."""
    policy = policy_name(last.policy)
    raise LogFull(f"{what}: the log of {log} (log_bytes = {last.log_bytes}, slow_policy ="
                  f" {policy!r}) is full, connection {last.number} {peer!r} has still to take"
                  f" {last.lag_bytes} bytes", last.number)


cdef int refuse_ended(Connection conn, int reason) except -1:
    """Raise ConnectionClosed, or SlowConsumer. reason: the engine's, below zero if it knows none."""
    why = conn.reason or (REASONS[reason] if reason >= 0 else Reason.LOCAL)
    error = SlowConsumer if why is Reason.SLOW else ConnectionClosed
    by = "peer" if why in (Reason.PEER, Reason.RESET, Reason.UNFINISHED) else "local"
    raise error(f"connection {conn.number} has ended: {why}", by, conn.number)
