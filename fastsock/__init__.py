"""Push messages to many sockets, and call other processes, at the speed of C."""

try:
    from fastsock import posix
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("fastsock."):
        raise
    raise ImportError(
        f"{error.name} is not compiled for this Python: run 'make build' in the clone"
    ) from None
from fastsock.client import Client
from fastsock.client.endpoint import Endpoint
from fastsock.client.single import SingleServer
from fastsock.errors import (
    ConnectionClosed,
    FastsockError,
    LogFull,
    MessageTooBig,
    ProtocolError,
    ServerClosed,
    SlowConsumer,
)
from fastsock.net import Host, Interface, free_port, interfaces, resolve
from fastsock.posix.sockets import Socket, create_connection, create_server, socketpair
from fastsock.server import MultiServer
from fastsock.server._connection import Channel, Connection
from fastsock.server._events import Connected, Disconnected, Event, Gap, Message, Reason
from fastsock.server.stats import ConnectionStats, ServerStats

__all__ = [
    "Channel",
    "Client",
    "Connected",
    "Connection",
    "ConnectionClosed",
    "ConnectionStats",
    "Disconnected",
    "Endpoint",
    "Event",
    "FastsockError",
    "Gap",
    "Host",
    "Interface",
    "LogFull",
    "Message",
    "MessageTooBig",
    "MultiServer",
    "ProtocolError",
    "Reason",
    "ServerClosed",
    "ServerStats",
    "SingleServer",
    "SlowConsumer",
    "Socket",
    "create_connection",
    "create_server",
    "free_port",
    "interfaces",
    "posix",
    "resolve",
    "socketpair",
]


def __getattr__(name: str) -> str:
    """``__version__``, looked up only when it is asked for, since that takes time."""
    if name != "__version__":
        raise AttributeError(f"module 'fastsock' has no attribute {name!r}")
    from importlib.metadata import version

    return version("fastsock")
