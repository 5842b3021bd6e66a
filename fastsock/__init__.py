"""Push messages to many sockets, and call other processes, at the speed of C."""

from fastsock._core import (
    Connected,
    Connection,
    Disconnected,
    Event,
    Message,
    Reason,
)
from fastsock.client import Client
from fastsock.errors import (
    ConnectionClosed,
    FastsockError,
    MessageTooBig,
    ProtocolError,
    ServerClosed,
    SlowConsumer,
)
from fastsock.server import MultiServer
from fastsock.stats import ConnectionStats, ServerStats

__all__ = [
    "Client",
    "Connected",
    "Connection",
    "ConnectionClosed",
    "ConnectionStats",
    "Disconnected",
    "Event",
    "FastsockError",
    "Message",
    "MessageTooBig",
    "MultiServer",
    "ProtocolError",
    "Reason",
    "ServerClosed",
    "ServerStats",
    "SlowConsumer",
]
