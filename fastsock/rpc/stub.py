"""Stubs: objects of an interface whose methods run elsewhere."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from fastsock.address import Address, check, show
from fastsock.options import check_busy_poll, check_count, check_period, check_seconds
from fastsock.rpc.calls import BoundMethod, BoundStream
from fastsock.rpc.connector import Connector, Interceptor, Settings
from fastsock.rpc.context import _metadata, check_metadata
from fastsock.rpc.finding import MatchmakerRoute
from fastsock.rpc.interface import Interface
from fastsock.rpc.matchmaker import Instance, Matchmaker
from fastsock.rpc.route import FixedRoute, Route

__all__ = ["close", "connect"]

S = TypeVar("S")

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
    keepalive: float = 15.0,
    token: str = "",
    metadata: Mapping[str, str] | None = None,
    interceptors: Sequence[Interceptor] = (),
    body_bytes_max: int = 1 << 26,
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
    keepalive        seconds of silence after which a waiting client asks whether the server lives;
                     after as many again the connection is lost
    token            what a server with a token asks for
    metadata         a small map of str to str that the methods find in ``rpc.current()``
    interceptors     each is called with every :class:`Call` before it goes out, and may raise, or
                     ``add_done_callback``
    body_bytes_max   the longest result, in bytes
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
    check_period("keepalive", keepalive)
    if timeout is not None:
        check_period("timeout", timeout)
    check_count("body_bytes_max", body_bytes_max, 1 << 40)
    check_busy_poll(busy_poll_us)
    described = Interface.of(interface)
    settings = Settings(
        timeout=timeout,
        connect_timeout=connect_timeout,
        retry=retry,
        keepalive=keepalive,
        body_bytes_max=body_bytes_max,
        busy_poll_us=busy_poll_us,
        token=token,
        metadata=check_metadata(metadata or {}),
        interceptors=tuple(interceptors),
    )
    connector = Connector(described, _route(described, address, matchmaker, token), settings)
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
    stub_class: Any = type(f"{interface.__name__}Stub", (interface,), {"__init__": _no_init})
    stub_class.__abstractmethods__ = frozenset()
    stub: Any = object.__new__(stub_class)
    stub.__dict__["_rpc_connector"] = connector
    stub.__dict__["close"] = connector.close
    for name, signature in described.methods.items():
        bound = BoundStream if signature.stream else BoundMethod
        stub.__dict__[name] = bound(connector, signature)
    return stub  # type: ignore[no-any-return]


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
