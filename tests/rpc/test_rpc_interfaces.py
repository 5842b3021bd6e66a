"""fastsock.rpc: what can be served and where, what is refused, and the options of both sides."""

import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import pytest
from conftest import WAIT, wait_until
from rpc_ends import wait_running
from rpc_shop import Shop

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

T = TypeVar("T")


# ---- Addresses ----


def test_unix_socket(start, stub, tmp_path):
    server = start(None, tmp_path / "shop")
    assert server.address == str(tmp_path / "shop")
    assert stub(server).add(1, 2) == 3


def test_several_addresses_are_one_server(start, stub, tmp_path):
    server = start(None, [("127.0.0.1", 0), ("::1", 0), str(tmp_path / "shop")])
    assert len(server.addresses) == 3
    for number, address in enumerate(server.addresses, 1):
        assert stub(address).record(f"from {address}") == number


def test_nobody_there(start, tmp_path):
    server = start()
    server.close()
    with pytest.raises(rpc.Unavailable, match=f"{server.address[1]}.*refused"):
        rpc.connect(Shop, server.address)
    with pytest.raises(rpc.Unavailable, match="No such file"):
        rpc.connect(Shop, tmp_path / "nothing")


# ---- Interfaces ----


class Priced(ABC):
    @rpc.method
    @abstractmethod
    def price(self, name: str) -> int: ...

    @rpc.method(inline=True)
    def currency(self) -> str:
        return "EUR"


class Market(Priced, rpc.Service):
    @rpc.method
    def price(self, name: str) -> int:
        return len(name)

    @rpc.method
    def names(self) -> Iterator[str]:
        yield from ("apple", "pear")

    def secret(self) -> str:
        return "not for others"


@runtime_checkable
class HasPrice(Protocol):
    @rpc.method
    def price(self, name: str) -> int: ...


def test_abstract_classes_are_interfaces(start, stub):
    server = start(Market(), interface=Priced)
    priced = stub(server, Priced)
    assert (priced.price("apple"), priced.currency()) == (5, "EUR")
    assert isinstance(priced, Priced)


def test_protocols_are_interfaces(start, stub):
    class Stand:
        def price(self, name: str) -> int:
            return 7

    server = start(Stand(), interface=HasPrice)
    there = stub(server, HasPrice)
    assert there.price("pear") == 7
    assert isinstance(there, HasPrice)


def test_a_subclass_serves_what_it_inherits(start, stub):
    class Discount(Market):
        def price(self, name: str) -> int:
            return super().price(name) - 1

    server = start(Discount(), interface=Market)
    market = stub(server, Market)
    assert market.price("apple") == 4
    assert list(market.names()) == ["apple", "pear"]


def test_only_marked_methods_are_called_from_afar(start, stub):
    market = stub(start(Market()), Market)
    assert "secret" not in vars(market)
    with pytest.raises(AttributeError, match=r"@rpc\.method is missing"):
        market.secret()


def test_a_stub_asks_for_its_own_methods_only(start, stub):
    """So servers can be upgraded first."""

    class Old(rpc.Service):
        rpc_name = "Priced"

        @rpc.method
        def price(self, name: str) -> int: ...

    assert stub(start(Market()), Old).price("pear") == 4


def no_annotation():
    class Service:
        @rpc.method
        def f(self, a) -> None: ...

    return Service


def no_result():
    class Service:
        @rpc.method
        def f(self, a: int): ...

    return Service


def variadic():
    class Service:
        @rpc.method
        def f(self, *args: int) -> None: ...

    return Service


def oneway_with_result():
    class Service:
        @rpc.method(oneway=True)
        def f(self) -> int: ...

    return Service


def inline_stream():
    class Service:
        @rpc.method(inline=True)
        def f(self) -> Iterator[int]: ...

    return Service


def raises_no_exception():
    class Service:
        @rpc.method(raises=[int])
        def f(self) -> None: ...

    return Service


def raises_two_of_one_name():
    class Service:
        @rpc.method(raises=[KeyError, type("KeyError", (Exception,), {})])
        def f(self) -> None: ...

    return Service


def nothing_marked():
    class Service:
        def f(self) -> None: ...

    return Service


def mixed_union():
    class Service:
        @rpc.method
        def f(self, a: list[int] | set[int]) -> None: ...

    return Service


@pytest.mark.parametrize(
    "make, says",
    [
        (no_annotation, "parameter 'a' has no annotation"),
        (no_result, "its result has no annotation"),
        (variadic, "name each parameter"),
        (oneway_with_result, "a oneway method returns None"),
        (inline_stream, "cannot be inline"),
        (raises_no_exception, "raises holds classes of exceptions, not <class 'int'>"),
        (raises_two_of_one_name, "two classes of one name, <class 'KeyError'> and"),
        (nothing_marked, "has no method that is marked"),
        (mixed_union, "union"),
    ],
)
def test_what_cannot_be_an_interface_says_why(make, says):
    with pytest.raises(TypeError, match=says):
        rpc.serve(make()())


class Money:
    """A class of the user's own, which nobody can send."""


class Box(Generic[T]):
    """A generic class that is no record."""


@dataclass
class Unset:
    """A record with a field that is never set."""

    a: int
    b: int = field(init=False)


@dataclass
class Init:
    a: int
    b: InitVar[int] = 3


@dataclass
class Doubled:
    """A record that can be sent: it sets its field itself."""

    unit: ClassVar[str] = "EUR"
    a: int
    _: KW_ONLY
    b: int = field(init=False)

    def __post_init__(self) -> None:
        self.b = 2 * self.a


@dataclass
class Shelf:
    boxes: "list[Box[int]]"


@pytest.mark.parametrize(
    "kind, says",
    [
        (Money, "Money cannot be sent; use a dataclass"),
        (Box[int], r"Box\[int\] cannot be sent"),
        (Shelf, r"Shelf: Box\[int\] cannot be sent"),
        (dict[str, Money | None], "Money cannot be sent"),
        (Counter[str], r"Counter\[str\] cannot be sent; annotate dict"),
        (defaultdict[str, int], "annotate dict"),
        (deque[Money], r"deque\[Money\]: Money cannot be sent"),
        (Unset, "nothing sets its field 'b'"),
        (Init, "InitVar"),
        (type, "type cannot be sent"),
        (range, "range cannot be sent"),
        (Callable[[int], int], "cannot be sent"),
        (list[Iterator[int]], r"Iterator\[int\] cannot be sent"),
        (np.integer, "it is abstract; name a type that has values, as numpy.int64"),
        (np.generic, "it is abstract"),
        (list[np.longdouble], "use numpy.float64"),
        (np.void, "not a plain number"),
        (npt.NDArray[np.object_], "its items are not plain numbers"),
    ],
)
@pytest.mark.parametrize("is_result", [False, True])
def test_a_type_that_cannot_be_sent_is_refused_before_it_is_served(kind, says, is_result):
    def f(self, value): ...

    f.__annotations__ = {
        "value": int if is_result else kind,
        "return": kind if is_result else None,
    }
    service = type("Late", (rpc.Service,), {"f": rpc.method(f)})
    place = "its result" if is_result else "parameter 'value'"
    with pytest.raises(TypeError, match=f"Late.f: {place}: .*{says}"):
        rpc.serve(service())


def test_types_that_look_odd_can_be_sent(start):
    class Odd(rpc.Service):
        @rpc.method
        def doubled(self, value: Doubled) -> Doubled:
            return value

        @rpc.method
        def anything(self, value: object, hashed: Hashable) -> bool:
            return value == hashed

        @rpc.method
        def total(self, value: npt.NDArray[np.floating]) -> float:
            return float(value.sum())

    server = start(Odd())
    with rpc.connect(Odd, server.address, timeout=WAIT) as stub:
        assert stub.doubled(Doubled(4)) == Doubled(4)
        assert stub.anything("a", "a")
        assert stub.total(np.ones(3)) == 3.0


class Till(rpc.Service):
    @rpc.method
    def pay(self, cents: int, *, note: str = "") -> str:
        return f"{cents}{note}"


class Awaited(Till):
    async def pay(self, cents: int, *, note: str = "") -> str:  # type: ignore[override]
        return ""


class Fewer(Till):
    def pay(self) -> str:  # type: ignore[override]
        return ""


class More(Till):
    def pay(self, cents: int, payer: str, *, note: str = "") -> str:  # type: ignore[override]
        return ""


class Unnoted(Till):
    def pay(self, cents: int) -> str:  # type: ignore[override]
        return ""


class Wider(Till):
    def pay(self, amount: int, payer: str = "ann", **more: str) -> str:  # type: ignore[override]
        return f"{payer}{amount}{more}"


@pytest.mark.parametrize(
    "service, says",
    [
        (Awaited, "Awaited.pay is async, but pay.* is not; mark it"),
        (Fewer, "Fewer.pay is not called as pay.*too many positional"),
        (More, "More.pay is not called as pay.*'payer'"),
        (Unnoted, "Unnoted.pay is not called as pay.*'note'"),
    ],
)
def test_an_override_that_is_called_otherwise_is_refused(service, says):
    with pytest.raises(TypeError, match=says):
        rpc.serve(service(), ("127.0.0.1", 0))


def test_an_override_may_take_more(start):
    server = start(Wider())
    with rpc.connect(Till, server.address, timeout=WAIT) as stub:
        assert stub.pay(5, note="x") == "ann5{'note': 'x'}"


def test_a_service_must_have_the_interface_s_methods():
    with pytest.raises(TypeError, match=r"object has no method price\(\)"):
        rpc.serve(object(), interface=HasPrice)


def test_stubs_are_made_by_connect_alone(start, stub):
    shop = stub(start())
    with pytest.raises(TypeError, match="rpc.connect"):
        type(shop)()
    with pytest.raises(TypeError, match="is no stub"):
        rpc.close(object())
    with pytest.raises(TypeError, match="the interface must be a class, not <"):
        rpc.connect(Shop(), ("127.0.0.1", 1))


def test_stubs_describe_themselves(start, stub):
    shop = stub(start())
    assert repr(shop.add) == "<remote method add(a: float, b: float = 1.0) -> float>"
    assert shop.add.__doc__ == "The sum."


def test_using_a_closed_stub(start, stub):
    shop = stub(start())
    shop.close()
    shop.close()
    with pytest.raises(rpc.ConnectionLost, match="the stub is closed"):
        shop.add(1, 2)


def test_closing_a_stub_ends_its_calls_here_and_there(start, stub):
    server = start()
    shop = stub(server)
    call = shop.wait.begin("left behind")
    stream = shop.count.begin(1 << 20)
    wait_until(lambda: {"left behind", "count 0"} <= set(server.service.begun), "both run")
    shop.close()
    with pytest.raises(rpc.ConnectionLost, match="closed"):
        call.result(WAIT)
    with pytest.raises(rpc.ConnectionLost, match="closed"):
        list(stream)
    wait_running(server, 0)
    assert server.service.ended.count("left behind cancelled") == 1


# ---- Options ----


@pytest.mark.parametrize(
    "options, says",
    [
        ({"calls_max": 0}, "calls_max must be from 1 .*, not 0"),
        ({"body_bytes_max": -1}, "body_bytes_max must be from 1 .*, not -1"),
        ({"session_seconds": "x"}, "session_seconds.*'x'"),
        ({"threads_max": 0}, "threads_max must be from 1 .*, not 0"),
        ({"sessions_max": 0}, "sessions_max must be from 1 .*, not 0"),
        ({"threads_max": 1.5}, "threads_max.*1.5"),
    ],
)
def test_options_of_serve(options, says):
    with pytest.raises((ValueError, TypeError), match=says):
        rpc.serve(Shop(), **options)


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"timeout": 0}, ValueError, "timeout must be.* more than 0 seconds, not 0"),
        ({"keepalive": -1.0}, ValueError, "keepalive must be.*not -1.0"),
        ({"body_bytes_max": 0}, ValueError, "body_bytes_max must be from 1 .*, not 0"),
        ({"retry": "long"}, TypeError, "retry"),
        ({"busy_poll_us": -1}, ValueError, "busy_poll_us must be from 0 to 1000000, not -1"),
        ({"matchmaker": ("127.0.0.1", 1)}, TypeError, "one of both"),
    ],
)
def test_options_of_connect(start, options, error, says):
    with pytest.raises(error, match=says):
        rpc.connect(Shop, start().address, **options)


def test_health_counts_the_calls_of_each_method(start, stub):
    server = start()
    shop, before = stub(server), time.monotonic()
    for _ in range(100):
        shop.add(1, 2)
    assert shop.pooled(1) == 1
    assert len(list(shop.count(3))) == 3
    with pytest.raises(rpc.RemoteError):
        list(shop.count(3, 1))
    waiting = shop.wait.begin("x")
    wait_running(server, 1)
    took = time.monotonic() - before
    methods = server.health()["methods"]
    assert set(methods) == {"add", "pooled", "count", "wait"}
    shown = {name: (of["calls"], of["errors"], of["running"]) for name, of in methods.items()}
    assert shown["add"] == (100, 0, 0)
    assert shown["pooled"] == (1, 0, 0)
    assert shown["count"] == (2, 1, 0)
    assert shown["wait"] == (0, 0, 1)
    for name in ("add", "pooled", "count"):
        assert 0.0 < methods[name]["p50"] <= methods[name]["p99"] <= max(2 * took, 2e-6)
    server.service.gate.set()
    waiting.result(WAIT)
    wait_until(lambda: server.health()["methods"]["wait"]["calls"] == 1, "it is counted")


def test_health_counts_the_errors_of_inline_methods(start, stub):
    class Divider(rpc.Service):
        @rpc.method(inline=True)
        def divide(self, a: int, b: int) -> int:
            return a // b

    server = start(Divider())
    divider = stub(server, Divider)
    assert divider.divide(6, 3) == 2
    with pytest.raises(rpc.RemoteError, match="ZeroDivisionError"):
        divider.divide(1, 0)
    divide = server.health()["methods"]["divide"]
    assert (divide["calls"], divide["errors"], divide["running"]) == (2, 1, 0)


def test_reflection_and_health(start, stub):
    from fastsock.rpc.server.builtin import Builtins

    server = start()
    any_server = stub(server, Builtins)
    assert any_server.rpc_ping() is None
    assert any_server.rpc_health()["status"] == "serving"
    described = any_server.rpc_describe()
    assert (described.service, described.version) == ("Shop", "1")
    assert described.doc == "Methods of each kind."
    add = next(each for each in described.methods if each.name == "add")
    assert add.signature == "add(a: float, b: float = 1.0) -> float"
    fields = [(field.name, field.type) for field in add.parameters]
    assert (add.doc, fields) == ("The sum.", [("a", "float"), ("b", "float")])
