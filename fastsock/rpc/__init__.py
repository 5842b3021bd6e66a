"""Remote procedure calls: typed stubs and skeletons over fastsock's sockets.

A class derives from :class:`Service` and marks methods with :func:`method`; :func:`serve` serves an
object of it, and :func:`connect` returns a stub that has the same methods and types.
"""

try:
    import msgspec as _msgspec  # noqa: F401
except ImportError:
    import sys

    from fastsock._extras import how_to_install

    missing = f"fastsock.rpc needs msgspec: {how_to_install('rpc')}"
    if sys.argv[:1] == ["-m"] and "fastsock.rpc" in sys.orig_argv:
        sys.exit(missing)  # "python -m fastsock.rpc" begins here: one line, no traceback
    raise ImportError(missing) from None

from fastsock.rpc.client.calls import Call, Stream
from fastsock.rpc.context import Context, current, deadline, metadata
from fastsock.rpc.errors import (
    BadRequest,
    BodyTooLarge,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    InterfaceMismatch,
    OutcomeUnknown,
    Overloaded,
    RemoteError,
    RpcError,
    Unavailable,
    UnknownMethod,
    VersionMismatch,
    WrongArguments,
    WrongResult,
)
from fastsock.rpc.interface import Service, method
from fastsock.rpc.server.server import Server, serve
from fastsock.rpc.stub import close, connect

__all__ = [
    "BadRequest",
    "BodyTooLarge",
    "Call",
    "Cancelled",
    "ConnectionLost",
    "Context",
    "DeadlineExceeded",
    "Forbidden",
    "InterfaceMismatch",
    "OutcomeUnknown",
    "Overloaded",
    "RemoteError",
    "RpcError",
    "Server",
    "Service",
    "Stream",
    "Unavailable",
    "UnknownMethod",
    "VersionMismatch",
    "WrongArguments",
    "WrongResult",
    "close",
    "connect",
    "current",
    "deadline",
    "metadata",
    "method",
    "serve",
]
