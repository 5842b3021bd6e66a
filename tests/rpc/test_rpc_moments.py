"""fastsock.rpc: datetimes and times arrive with their wall clock, zone, offset and fold."""

import collections
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any

import msgspec
import numpy as np
import pytest

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

PLUS_TWO = timezone(timedelta(hours=2))
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@dataclass
class Visit:
    when: datetime
    other: Any = None


class Opening(msgspec.Struct, array_like=True, tag="opening"):
    clock: time
    days: dict[str, list[datetime | None]]
    large: bytes = b""


class Diary(rpc.Service):
    @rpc.method(inline=True)
    def when(self, value: datetime) -> datetime:
        return value

    @rpc.method
    def shown(self, value: datetime) -> str:
        return f"{value.date()} {value.utcoffset()} {value.fold}"

    @rpc.method
    def clock(self, value: time) -> time:
        return value

    @rpc.method
    def visit(self, value: Visit) -> Visit:
        return value

    @rpc.method
    def opening(self, value: Opening, data: bytes) -> Opening:
        assert len(data) == 200_000
        return value

    @rpc.method
    def keys(self, value: dict[datetime, int]) -> dict[datetime, int]:
        return value

    @rpc.method
    def pairs(self, value: dict[tuple[datetime, int], datetime]) -> dict[tuple[datetime, int], Any]:
        return value

    @rpc.method
    def members(self, value: set[datetime]) -> set[datetime]:
        return value

    @rpc.method
    def pair_members(self, value: set[tuple[datetime, int]]) -> set[tuple[datetime, int]]:
        return value

    @rpc.method
    def clocks(self, value: dict[time, int]) -> dict[time, int]:
        return value

    @rpc.method
    def beside(self, when: datetime, value: bytes) -> bytes:
        return value

    @rpc.method
    def any(self, value: Any) -> Any:
        return value

    @rpc.method
    def each(self, values: list[datetime]) -> Iterator[datetime]:
        yield from values


MOMENTS = [
    datetime(2026, 7, 1, 0, 30, tzinfo=PLUS_TWO),
    datetime(2026, 7, 1, 0, 30, tzinfo=BERLIN),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(2026, 7, 1, 0, 30, 1, 999_999),
    datetime(2026, 7, 1, 0, 30, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14, seconds=1))),
]
CLOCKS = [time(9, tzinfo=BERLIN), time(9, 30, tzinfo=PLUS_TWO), time(2, 30, fold=1), time(1)]


@pytest.fixture
def diary(start, stub):
    return stub(start(Diary()), Diary)


@pytest.mark.parametrize("value", MOMENTS, ids=repr)
def test_a_datetime_arrives_as_it_is(diary, value):
    assert repr(diary.when(value)) == repr(value)
    assert diary.shown(value) == f"{value.date()} {value.utcoffset()} {value.fold}"
    assert repr(diary.any(value)) == repr(value)
    assert repr(diary.any({"a": [value, 1, b"x"]})) == repr({"a": [value, 1, b"x"]})
    assert repr(diary.visit(Visit(value, [value]))) == repr(Visit(value, [value]))
    assert repr(list(diary.each([value, value]))) == repr([value, value])
    opening = Opening(time(1), {"monday": [value, None]}, bytes(100_000))
    assert repr(diary.opening(opening, bytes(200_000))) == repr(opening)


@pytest.mark.parametrize("value", CLOCKS, ids=repr)
def test_a_time_arrives_as_it_is(diary, value):
    assert repr(diary.clock(value)) == repr(value)
    assert repr(diary.any((value, "x"))) == repr([value, "x"])


@pytest.mark.parametrize("value", MOMENTS, ids=repr)
def test_a_key_arrives_as_it_is(diary, value):
    assert repr(diary.keys({value: 1})) == repr({value: 1})
    assert repr(diary.any({value: {(value, 1): value}})) == repr({value: {(value, 1): value}})
    assert repr(diary.pairs({(value, 1): value})) == repr({(value, 1): value})


@pytest.mark.parametrize("value", MOMENTS, ids=repr)
def test_members_of_sets_arrive_as_they_are(diary, value):
    assert repr(diary.members({value})) == repr({value})
    assert repr(diary.pair_members({(value, 1)})) == repr({(value, 1)})


@pytest.mark.parametrize("value", CLOCKS, ids=repr)
def test_a_time_as_a_key_arrives_as_it_is(diary, value):
    assert repr(diary.clocks({value: 1})) == repr({value: 1})


def test_text_is_not_bytes_beside_a_datetime(diary):
    with pytest.raises(rpc.WrongArguments, match="Expected `bytes`, got `str`"):
        diary.beside(MOMENTS[0], "YWJj")
    assert diary.beside(MOMENTS[0], b"abc") == b"abc"


def test_arrays_beside_a_datetime_arrive(diary):
    when, array = diary.any([MOMENTS[0], np.arange(3)])
    assert repr(when) == repr(MOMENTS[0])
    assert array.tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="a object cannot be sent"):
        diary.any([MOMENTS[0], object()])


class Sundial(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return when and timedelta(hours=1)

    def tzname(self, when: datetime | None) -> str:
        return "sundial"

    def dst(self, when: datetime | None) -> None:
        return None


def test_a_zone_of_the_program_is_an_offset_or_refused(diary):
    arrived = diary.when(datetime(2026, 7, 1, 9, tzinfo=Sundial()))
    assert arrived.isoformat() == "2026-07-01T09:00:00+01:00"
    with pytest.raises(TypeError, match="which has no offset, cannot be sent"):
        diary.clock(time(9, tzinfo=Sundial()))


@pytest.mark.parametrize(
    "form",
    [["datetime", "x", None, 0], ["datetime", "2026-07-01", None, 7], ["time", "09:00", "No", 0]],
)
def test_what_is_no_moment_is_refused(diary, form):
    packed = msgspec.msgpack.encode(["\x01moment\x01", *form])
    with pytest.raises(rpc.WrongArguments):
        diary.any(msgspec.msgpack.Ext(3, packed))


class Holders(rpc.Service):
    @rpc.method
    def deque(self, value: collections.deque[datetime]) -> collections.deque[datetime]:
        return value

    @rpc.method
    def ordered(
        self, value: list[collections.OrderedDict[str, datetime]]
    ) -> list[collections.OrderedDict[str, datetime]]:
        return value


def test_in_containers_of_the_standard_library_too():
    zone = timezone(timedelta(hours=2))
    moment = datetime(2026, 1, 2, 0, 30, tzinfo=zone)
    with rpc.serve(Holders()) as server, rpc.connect(Holders, server.address) as stub:
        (heard,) = stub.deque(collections.deque([moment]))
        assert heard.isoformat() == moment.isoformat()
        (ordered,) = stub.ordered([collections.OrderedDict(at=moment)])
        assert ordered["at"].isoformat() == moment.isoformat()
