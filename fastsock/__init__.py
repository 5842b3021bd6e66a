"""Push messages to many sockets, and call other processes, at the speed of C."""

from fastsock._lazy import importer, names_of

try:
    import fastsock.core._lock  # noqa: F401  any compiled module
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("fastsock."):
        raise
    raise ImportError(
        f"{error.name} is not compiled for this Python: run 'make build' in the clone"
    ) from None

# For type checkers, __init__.pyi says the same.
_HOMES = {
    "fastsock._version": "__version__",
    "fastsock.client.client": "Client",
    "fastsock.client.endpoint": "Endpoint",
    "fastsock.client.single": "SingleServer",
    "fastsock.core.activation": "listen_fds",
    "fastsock.errors": (
        "ConnectionClosed FastsockError LogFull MessageTooBig ProtocolError ServerClosed "
        "SlowConsumer"
    ),
    "fastsock.net": "Host Interface free_port interfaces resolve",
    "fastsock.posix": "",
    "fastsock.posix.sockets": "Socket create_connection create_server socketpair",
    "fastsock.server._connection": "Channel Connection",
    "fastsock.server._events": "Connected Disconnected Event Gap Message",
    "fastsock.server.reason": "Reason",
    "fastsock.server.multi": "MultiServer",
    "fastsock.server.stats": "ConnectionStats ServerStats",
}

__all__ = names_of(_HOMES)

__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
