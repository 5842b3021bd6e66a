"""The exceptions that fastsock raises beside those of the standard library."""

__all__ = [
    "ConnectionClosed",
    "FastsockError",
    "LogFull",
    "MessageTooBig",
    "ProtocolError",
    "ServerClosed",
    "SlowConsumer",
]


class FastsockError(Exception):
    """Base of the exceptions that are fastsock's own."""


class ProtocolError(FastsockError):
    """The bytes of a peer are not what its framing allows."""


class MessageTooBig(ProtocolError, ValueError):
    """A message is longer than ``message_bytes_max``."""


class LogFull(FastsockError, TimeoutError):
    """A log or an outbox had no room for a message within ``timeout``; it was not published.

    ``number`` is that of the server's connection in the way, None where it is not known.
    """

    def __init__(self, message: str = "", number: int | None = None) -> None:
        super().__init__(message)
        self.number = number

    def __reduce__(self) -> tuple[type, tuple[str, int | None]]:
        return type(self), (str(self), self.number)


class ServerClosed(FastsockError):
    """The server was closed; it publishes nothing any more."""


class ConnectionClosed(FastsockError, ConnectionError):
    """The connection has ended.

    ``reason`` says why, in words; ``by`` says who closed first: ``"peer"`` or ``"local"``.
    ``number`` is that of a server's connection, None for a client's.
    """

    def __init__(self, reason: str, by: str, number: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.by = by
        self.number = number

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:
        return type(self), (self.reason, self.by, self.number)


class SlowConsumer(ConnectionClosed):
    """The connection was closed because its peer did not take what waited for it."""
