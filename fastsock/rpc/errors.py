"""The exceptions of remote procedure calls, and the codes under which they travel."""

from fastsock.errors import FastsockError

__all__ = [
    "BadRequest",
    "BodyTooLarge",
    "Cancelled",
    "ConnectionLost",
    "DeadlineExceeded",
    "Forbidden",
    "InterfaceMismatch",
    "OutcomeUnknown",
    "Overloaded",
    "RemoteError",
    "RpcError",
    "Unavailable",
    "UnknownMethod",
    "VersionMismatch",
    "WrongArguments",
    "WrongResult",
]


class RpcError(FastsockError):
    """Base of what a remote call may raise beside the errors that its method declares."""


class RemoteError(RpcError):
    """The method raised an exception that it does not declare, or one that cannot be sent: then a
    note says why. Notes, causes and the members of a group come as text.

    ``type`` is the name of its class, ``message`` its text, ``remote_traceback`` the server's
    traceback, where the server was started with ``tracebacks=True``.
    """

    def __init__(self, type: str, message: str, remote_traceback: str = "") -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message
        self.remote_traceback = remote_traceback

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return RemoteError, (self.type, self.message, self.remote_traceback)


class DeadlineExceeded(RpcError, TimeoutError):
    """The call did not end in time, by the caller's clock. Whether it ran is not known."""


class Cancelled(RpcError):
    """The call was cancelled before it ended."""


class UnknownMethod(RpcError, AttributeError):
    """The server has no such method."""


class WrongArguments(RpcError, TypeError):
    """The arguments are not what the method's annotations ask for; the method did not run."""


class WrongResult(RpcError, TypeError):
    """The method ran, and its result is not what its annotation says."""


class BodyTooLarge(RpcError, ValueError):
    """Arguments or a result of more than ``body_bytes_max``."""


class BadRequest(RpcError):
    """The peer does not keep to the protocol."""


class VersionMismatch(RpcError):
    """Server and stub are of different protocols, services or versions."""


class InterfaceMismatch(VersionMismatch):
    """A method of the stub is missing at the server, or has another signature there."""


class Forbidden(RpcError):
    """The server asks for a token that the client does not have."""


class Overloaded(RpcError):
    """The server runs ``calls_max`` calls of this client already, or holds ``held_bytes_max``. This
    one did not start, unless the error says that it ran and there is no room for its answer."""


class Unavailable(RpcError, ConnectionError):
    """There is no server that takes the call, which did not start."""


class ConnectionLost(RpcError, ConnectionError):
    """The connection ended during the call. The method may be called again: it is idempotent or a
    stream."""


class OutcomeUnknown(ConnectionLost):
    """The connection ended during the call, and whether the method ran is not known."""


CODES: dict[int, type[RpcError]] = {
    1: UnknownMethod,
    2: WrongArguments,
    3: WrongResult,
    4: BodyTooLarge,
    5: BadRequest,
    6: VersionMismatch,
    7: Forbidden,
    8: Overloaded,
    9: Unavailable,
    10: DeadlineExceeded,
    11: Cancelled,
    12: OutcomeUnknown,
}
"""What an ERROR frame's code means; 0 is an exception of the method."""

CODE_OF = {error: code for code, error in CODES.items()}


def too_large(size: int, limit: int) -> BodyTooLarge:
    """The error of a body of ``size`` bytes."""
    return BodyTooLarge(f"a body of {size} bytes; body_bytes_max is {limit}")
