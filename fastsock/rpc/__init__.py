"""Remote procedure calls: typed stubs and skeletons over fastsock's sockets.

A class derives from :class:`Service` and marks methods with :func:`method`; :func:`serve` serves an
object of it, and :func:`connect` returns a stub that has the same methods and types.
"""

from fastsock._lazy import importer, names_of

try:
    import msgspec as _msgspec  # noqa: F401
except ImportError:
    import sys

    from fastsock._extras import how_to_install

    missing = f"fastsock.rpc needs msgspec: {how_to_install('rpc')}"
    if sys.argv[:1] == ["-m"] and "fastsock.rpc" in sys.orig_argv:
        sys.exit(missing)  # "python -m fastsock.rpc" begins here: one line, no traceback
    raise ImportError(missing) from None

# For type checkers, __init__.pyi says the same.
_HOMES = {
    "fastsock.rpc.client.calls": "Call Stream",
    "fastsock.rpc.context": "Context Ending current deadline metadata",
    "fastsock.rpc.errors": (
        "BadRequest BodyTooLarge Cancelled ConnectionLost DeadlineExceeded Forbidden "
        "InterfaceMismatch OutcomeUnknown Overloaded RemoteError RpcError Unavailable "
        "UnknownMethod VersionMismatch WrongArguments WrongResult"
    ),
    "fastsock.rpc.interface": "Service method",
    "fastsock.rpc.server.server": "Server serve",
    "fastsock.rpc.stub": "close connect",
}

__all__ = names_of(_HOMES)

__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
