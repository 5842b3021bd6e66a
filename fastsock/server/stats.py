"""What ``stats()`` returns: immutable records, taken at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ConnectionStats", "ServerStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats:
    """Figures of one connection."""

    number: int
    peer: tuple[str, int] | str
    age: float
    """Seconds since it was accepted."""
    idle: float
    """Seconds since a byte went either way."""
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    """Messages that are whole with its kernel."""
    messages_received: int
    lag_bytes: int
    """Bytes of the log that it has still to take."""
    lag_messages: int
    """Messages of the log that it has not taken whole."""
    outbox_bytes: int
    """Bytes that wait for it alone: direct messages, and notes on what to leave out."""
    dropped: int
    """Messages that it has lost by the policy "drop_oldest"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """Figures of a server since it began."""

    connections: tuple[ConnectionStats, ...]
    accepted: int
    accept_errors: int
    """How often accepting has failed, while callers waited in the backlog."""
    refused: int
    """Callers that were closed at once because this process had no descriptor left for them."""
    messages_published: int
    bytes_published: int
    """Bytes appended to the log, framing included, whatever the number of clients."""
    deliveries: int
    """Messages handed to kernels, over all clients."""
    dropped: int
    """Messages lost by the policy "drop_oldest", over all clients."""
    messages_received: int
    messages_unfinished: int
    """Messages that had begun and not ended when their client's stream did."""
    bytes_unheard: int
    """Bytes of clients that no handler or loop has got: what came after a connection was closed, or
    was left when it ended."""
    bytes_sent: int
    bytes_received: int
    queued_bytes: int
    """What waits in the log and in outboxes now."""
    sends: int
    """System calls that sent something: bytes_sent / sends is how well messages were gathered."""
    turns: int
    wakeups: int
    ended: Mapping[str, int] = field(default_factory=dict)
    """How many connections have ended, by reason."""
