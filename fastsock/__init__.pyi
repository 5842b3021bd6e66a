"""Push messages to many sockets, and call other processes, at the speed of C."""

from fastsock import posix as posix
from fastsock.client import Client as Client
from fastsock.client.endpoint import Endpoint as Endpoint
from fastsock.client.single import SingleServer as SingleServer
from fastsock.core.activation import listen_fds as listen_fds
from fastsock.errors import (
    ConnectionClosed as ConnectionClosed,
    FastsockError as FastsockError,
    LogFull as LogFull,
    MessageTooBig as MessageTooBig,
    ProtocolError as ProtocolError,
    ServerClosed as ServerClosed,
    SlowConsumer as SlowConsumer,
)
from fastsock.net import (
    Host as Host,
    Interface as Interface,
    free_port as free_port,
    interfaces as interfaces,
    resolve as resolve,
)
from fastsock.posix.sockets import (
    Socket as Socket,
    create_connection as create_connection,
    create_server as create_server,
    socketpair as socketpair,
)
from fastsock.server import MultiServer as MultiServer
from fastsock.server._connection import Channel as Channel, Connection as Connection
from fastsock.server._events import (
    Connected as Connected,
    Disconnected as Disconnected,
    Event as Event,
    Gap as Gap,
    Message as Message,
)
from fastsock.server.reason import Reason as Reason
from fastsock.server.stats import ConnectionStats as ConnectionStats, ServerStats as ServerStats

__version__: str
