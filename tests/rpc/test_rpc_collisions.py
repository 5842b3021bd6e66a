"""fastsock.rpc: a set or a dict of which a peer has chosen the members so that they all look for
their places in the same order is refused before it is made, whatever the members are."""

import dataclasses
import struct
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv6Network
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from rpc_raw import RawClient, colliding_pairs, pack

from fastsock import rpc
from fastsock.rpc.values.hashes import place_of
from fastsock.rpc.values.marshal import Codec
from fastsock.rpc.wire import Malformed

pytest_plugins = ("rpc_fixtures",)

P = 2**61 - 1
"""CPython's hash of a whole number is what is left of it behind multiples of this."""

COUNT = 1500


class Pair(NamedTuple):
    first: int
    second: int


class Frozen(msgspec.Struct, frozen=True, array_like=True):
    first: int
    second: int


Member = TypeVar("Member")


@dataclasses.dataclass
class Group(Generic[Member]):
    name: str
    members: set[Member]
    inner: "list[Group[Member]]" = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Users(Group[UUID]):
    pass


class Cat(msgspec.Struct, tag=True):
    names: dict[Decimal, str] | None = None


class Dog(msgspec.Struct, tag=True, rename="camel"):
    old_owners: set[UUID]
    names: list[str] = []


class Row(msgspec.Struct, array_like=True, tag="row"):
    key: int
    seen: frozenset[UUID]


class Entry(TypedDict, total=False):
    seen: dict[Fraction, int]


def uuids(count: int) -> list[str]:
    return [str(UUID(int=7 + number * P)) for number in range(count)]


def numbers(count: int) -> list[str]:
    return [str(7 + number * P) for number in range(count)]


def networks(count: int) -> list[str]:
    """The hash is that of the address and the mask, each bit of which one of them has."""
    return [str(IPv6Network((2**128 - 1 - number * P, 128))) for number in range(count)]


def in_map(keys: list[Any]) -> bytes:
    packed = b"".join(pack(key) + b"\x01" for key in keys)
    return b"\xdf" + struct.pack(">I", len(keys)) + packed


FORMS: list[tuple[Any, bytes]] = [
    (set[UUID], pack(uuids(COUNT))),
    (set[UUID | int] | None, pack(uuids(COUNT))),
    (frozenset[Decimal], pack(numbers(COUNT))),
    (set[Fraction], pack(numbers(COUNT))),
    (set[IPv6Network], pack(networks(COUNT))),
    (set[tuple[int, int]], pack(colliding_pairs(COUNT))),
    (set[tuple[int, ...]], pack(colliding_pairs(COUNT))),
    (frozenset[Pair], pack(colliding_pairs(COUNT))),
    (set[Frozen], pack(colliding_pairs(COUNT))),
    (set[Any], pack(colliding_pairs(COUNT))),
    (set, pack(colliding_pairs(COUNT))),
    (dict[UUID, int], in_map(uuids(COUNT))),
    (dict[Decimal, int], in_map(numbers(COUNT))),
    (dict[Fraction, int], in_map(numbers(COUNT))),
    (dict[Pair, int], in_map(colliding_pairs(COUNT))),
    (dict[Any, Any], in_map(colliding_pairs(COUNT))),
    (Any, in_map(colliding_pairs(COUNT))),
    (object, in_map(colliding_pairs(COUNT))),
    (OrderedDict[UUID, int], in_map(uuids(COUNT))),
    (OrderedDict[tuple[int, int], int], in_map(colliding_pairs(COUNT))),
    (deque[set[UUID]], b"\x91" + pack(uuids(COUNT))),
    (list[deque[dict[str, set[UUID]]]], pack([[{"x": uuids(COUNT)}]])),
    (dict[str, tuple[int, set[Decimal]]], pack({"x": (1, numbers(COUNT))})),
    (dict[frozenset[Decimal], int], b"\x81" + pack(numbers(COUNT)) + b"\x01"),
    (frozenset[frozenset[Decimal]], b"\x91" + pack(numbers(COUNT))),
    (Group[UUID], pack({"name": "x", "members": uuids(COUNT)})),
    (Group[Decimal], pack({"name": "x", "members": [], "inner": [
        {"name": "y", "members": numbers(COUNT)}]})),
    (Users, pack({"name": "x", "members": uuids(COUNT)})),
    (Cat | Dog, b"\x82" + pack("type") + pack("Cat") + pack("names") + in_map(numbers(COUNT))),
    (Cat | Dog, pack({"oldOwners": uuids(COUNT), "type": "Dog"})),
    (list[Row | int], pack([1, ["row", 1, uuids(COUNT)]])),
    (Entry, b"\x81" + pack("seen") + in_map(numbers(COUNT))),
]  # fmt: skip


def named(given: Any) -> str:
    return str(given).replace("typing.", "")[:40] if not isinstance(given, bytes) else ""


@pytest.mark.parametrize("kind, packed", FORMS, ids=named)
def test_members_that_collide_are_refused(kind, packed):
    with pytest.raises(Malformed, match=f"^{COUNT} keys that collide$"):
        Codec(kind).decode(0, packed)


def test_a_set_beside_a_datetime_with_its_zone():
    """Such a body is read in two steps."""
    zoned = datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=2)))
    codec = Codec(tuple[datetime, set[UUID]])
    _, whole = codec.encode((zoned, set()))
    assert isinstance(whole, bytes)
    assert codec.decode(0, whole) == (zoned, set())
    with pytest.raises(Malformed, match=f"^{COUNT} keys that collide$"):
        codec.decode(0, whole.removesuffix(b"\x90") + pack(uuids(COUNT)))


def test_members_before_one_that_cannot_be_read_count():
    with pytest.raises(Malformed, match="keys that collide"):
        Codec(set[UUID]).decode(0, pack([*uuids(COUNT), "no uuid"]))


def test_a_server_refuses_them_too(start):
    class Reader(rpc.Service):
        @rpc.method
        def seen(self, value: set[UUID]) -> int:
            return len(value)

    with RawClient(start(Reader()).address) as client:
        client.call(1, "seen", uuids(COUNT))
        code, _, text, *_ = client.hear_answer(1).value
        assert (code, text.endswith(f"{COUNT} keys that collide")) == (2, True)


def spread(make: Callable[[int], Any], count: int = 5000) -> list[Any]:
    return [make(number) for number in range(count)]


HONEST: list[tuple[Any, list[Any]]] = [
    (set[int], spread(lambda number: number)),
    *((set[int], spread(lambda number, by=by: number << by)) for by in (3, 10, 22, 32, 45)),
    (set[int], spread(lambda number: -number)),
    (set[float], spread(lambda number: number / 1024)),
    (set[float], spread(lambda number: number / 10)),
    (frozenset[tuple[int, int]], spread(lambda number: (number % 70, number // 70))),
    (set[UUID], spread(lambda number: UUID(int=number << 64 | 4 << 76))),
    (set[Decimal], spread(lambda number: Decimal(number) / 100)),
    (dict[Decimal, int], spread(lambda number: Decimal(number))),
    (dict[datetime, int], spread(lambda number: datetime(2026, 1, 1) + timedelta(0, number))),
    (set[str], spread(str)),
]


@pytest.mark.parametrize("kind, members", HONEST, ids=named)
def test_members_that_nobody_chose_arrive(kind, members):
    codec = Codec(kind)
    value = dict.fromkeys(members, 1) if "dict" in str(kind) else kind(members)
    flags, body = codec.encode(value)
    assert codec.decode(flags, body) == value


def test_equal_members_are_one():
    assert Codec(set[UUID]).decode(0, pack([str(UUID(int=5))] * COUNT)) == {UUID(int=5)}
    assert Codec(set[int]).decode(0, pack([1] * COUNT)) == {1}


@dataclasses.dataclass(frozen=True)
class Nest:
    inner: "frozenset[Nest | int | None]"


def test_sets_in_sets_take_linear_time():
    """Each is read once for each that it is in."""
    leaf = b""
    for _ in range(200):
        others = b"".join(pack(number) for number in range(63))
        leaf = b"\x81" + pack("inner") + b"\xdc\x00\x40" + others + (leaf or b"\xc0")
    with pytest.raises(Malformed, match="nested too deep"):
        Codec(Nest).decode(0, leaf)


PLAIN: list[Any] = [
    *(int, list[float], dict[str, bytes], set[str], frozenset[Literal["a", "b"]]),
    *(dict[str, list[dict[bytes, int]]], tuple[int, str], datetime),
]


@pytest.mark.parametrize("kind", PLAIN, ids=named)
def test_types_without_such_members_are_not_looked_at(kind):
    assert place_of(kind, Codec) is None
