"""Stubs: objects of an interface whose methods run elsewhere."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastsock.core.address import Address, check, show
from fastsock.core.options import check_count, check_period, check_seconds
from fastsock.rpc.client.bound import BoundMethod, BoundStream
from fastsock.rpc.client.connector import Connector, Interceptor
from fastsock.rpc.client.route import FixedRoute, Route
from fastsock.rpc.client.settings import Settings
from fastsock.rpc.context import _metadata, check_metadata
from fastsock.rpc.interface import Service, interface_of
from fastsock.rpc.matchmaker.finding import MatchmakerRoute
from fastsock.rpc.matchmaker.service import Instance, Matchmaker
from fastsock.rpc.signature import Interface
from fastsock.rpc.values.weights import VALUES_MAX
from fastsock.rpc.wire.handshake import check_token

__all__ = ["close", "connect"]

S = TypeVar("S")

BASES = {"builtins", "abc", "typing", "typing_extensions", "collections.abc"}
"""Modules of bases whose attributes are nobody's own."""

SHARED = {"close", "rpc_name", "rpc_version", "_is_protocol", "_is_runtime_protocol"}
"""What a stub has beside its remote methods."""

ASK_SECONDS = 2.0
"""How long a matchmaker may take to accept, and to answer."""


def connect(
    interface: Callable[..., S],  # A type[S] would not be an abstract class or Protocol.
    address: Address | None = None,
    *,
    matchmaker: Address | None = None,
    timeout: float | None = None,
    connect_timeout: float = 5.0,
    retry: float = 2.0,
    place_timeout: float = 10.0,
    keepalive: float = 15.0,
    token: str = "",
    metadata: Mapping[str, str] | None = None,
    interceptors: Sequence[Interceptor] = (),
    body_bytes_max: int = 1 << 26,
    values_max: int = VALUES_MAX,
    busy_poll_us: int | None = None,
) -> S:
    """Connects to a server of the interface; returns a stub, an object of that type.

    ``interface`` is a class with methods marked ``@rpc.method``: the service's, or an abstract
    class or Protocol. The server is at ``address``, ``(host, port)`` or the path of a UNIX socket;
    or the ``matchmaker`` at that address knows where. All threads may use the stub, and a forked
    child, too, which connects for itself with its first call.

    timeout          seconds that each call has by default, None for as long as it takes
    connect_timeout  seconds for each attempt to connect
    retry            seconds for which a lost connection is made again
    place_timeout    seconds that a call waits for one of the server's ``calls_max`` places while
                     none becomes free; then it raises Overloaded
    keepalive        seconds of silence after which a waiting client asks whether the server lives;
                     after as many again the connection is lost
    token            what a server with a token asks for
    metadata         a small map of str to str that the methods find in ``rpc.current()``
    interceptors     each is called with every :class:`Call` before it goes out, and may raise, or
                     ``add_done_callback``
    body_bytes_max   the longest result, in bytes
    values_max       the most values of a result, see :func:`serve`
    busy_poll_us     microseconds to look for an answer before sleeping; None: up to 50, as long as
                     answers do come that soon

    Raises Unavailable where nobody answers, VersionMismatch and InterfaceMismatch where the server
    has another service, version or signature, Forbidden for a wrong token, TypeError or ValueError
    for an argument that cannot be.
    """
    if (address is None) == (matchmaker is None):
        raise TypeError("give connect() the server's address or matchmaker=, one of both")
    if not isinstance(interface, type):
        raise TypeError(f"the interface must be a class, not {interface!r}")
    check_seconds("retry", retry)
    check_period("connect_timeout", connect_timeout)
    check_period("place_timeout", place_timeout)
    for intercept in interceptors:
        _check_interceptor(intercept)
    check_period("keepalive", keepalive)
    if timeout is not None:
        check_period("timeout", timeout)
    check_count("body_bytes_max", body_bytes_max, 1 << 40)
    check_count("values_max", values_max, 1 << 40)
    if busy_poll_us is not None:
        check_count("busy_poll_us", busy_poll_us, 1_000_000, least=0)
    check_token(token)
    described = interface_of(interface)
    settings = Settings(
        timeout=timeout,
        connect_timeout=connect_timeout,
        retry=retry,
        place_timeout=place_timeout,
        keepalive=keepalive,
        body_bytes_max=body_bytes_max,
        values_max=values_max,
        busy_poll_us=busy_poll_us,
        token=token,
        metadata=check_metadata(metadata or {}),
        interceptors=tuple(interceptors),
    )
    connector = Connector(settings, described, _route(described, address, matchmaker, token))
    return _stub(interface, described, connector)


def _route(
    interface: Interface, address: Address | None, matchmaker: Address | None, token: str
) -> Route:
    if address is not None:
        check(address)
        return FixedRoute(address)
    assert matchmaker is not None
    where = matchmaker
    check(where)

    def ask() -> list[Instance]:
        metadata = _metadata.set(None)  # What the user tells the servers is not for others.
        try:
            with connect(
                Matchmaker, where, token=token, timeout=ASK_SECONDS, connect_timeout=ASK_SECONDS
            ) as asked:
                return asked.find(interface.name, interface.version)
        finally:
            _metadata.reset(metadata)

    wanted = f"{interface.name} version {interface.version}"
    return MatchmakerRoute(ask, f"{wanted} at {show(where)}")


def _stub(interface: type[S], described: Interface, connector: Connector) -> S:
    """An object of the interface's type whose own attributes are the remote methods."""
    own = {
        "__init__": _no_init,
        "__enter__": _enter,
        "__exit__": _exit,
        "__repr__": object.__repr__,
    }
    hidden = {
        name: each for name, each in _unmarked(interface).items() if name not in described.methods
    }
    stub_class: Any = type(f"{interface.__name__}Stub", (interface,), hidden | own)
    stub_class.__abstractmethods__ = frozenset()
    stub: Any = object.__new__(stub_class)
    stub.__dict__["_rpc_connector"] = connector
    stub.__dict__["close"] = connector.close
    for name, signature in described.methods.items():
        bound = BoundStream if signature.stream else BoundMethod
        stub.__dict__[name] = bound(connector, signature)
    return stub  # type: ignore[no-any-return]


def _check_interceptor(intercept: object) -> None:
    if not callable(intercept):
        raise TypeError(f"an interceptor is called with each Call; {intercept!r} is not callable")
    if any(map(inspect.iscoroutinefunction, (intercept, type(intercept).__call__))):
        raise TypeError(
            f"a client's interceptor runs before its call: def, not async: {intercept!r}"
        )


class _Unmarked:
    """Stands on a stub for an attribute that its service does not share."""

    def __init__(self, name: str, interface: type) -> None:
        self._text = f"{interface.__name__}.{name} is not there on a stub: @rpc.method is missing"

    def __get__(self, stub: object | None, owner: type) -> Any:
        raise AttributeError(self._text)


def _unmarked(interface: type) -> dict[str, _Unmarked]:
    """What hides the attributes of a class that are not for clients."""
    own = [
        base for base in interface.__mro__ if base.__module__ not in BASES and base is not Service
    ]
    names = {name for base in own for name in vars(base) if not name.startswith(("__", "_abc_"))}
    return {name: _Unmarked(name, interface) for name in names - SHARED}


def _enter(self: Any) -> Any:
    return self


def _exit(self: object, *_: object) -> None:
    close(self)


def _no_init(self: object) -> None:
    raise TypeError("stubs are made by rpc.connect()")


def close(stub: object) -> None:
    """Closes a stub's connection; calls that have not ended raise ConnectionLost. Idempotent.

    For stubs of a Protocol or an abstract class; those of a Service have the method ``close``.
    """
    connector = getattr(stub, "_rpc_connector", None)
    if connector is None:
        raise TypeError(f"{stub!r} is no stub that rpc.connect() has made")
    connector.close()
