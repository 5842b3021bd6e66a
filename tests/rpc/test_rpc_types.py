"""fastsock.rpc: every type that can be sent arrives as it was, checked on both sides."""

import enum
import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from conftest import WAIT
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from fastsock import rpc


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 7


class Point(NamedTuple):
    x: float
    y: float


class Row(TypedDict):
    name: str
    count: int


@dataclass
class Leaf:
    name: str
    color: Color = Color.RED
    tags: list[str] = field(default_factory=list)


@dataclass
class Tree:
    leaf: Leaf
    children: "list[Tree]" = field(default_factory=list)


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str
    friend: Cat | None = None


@dataclass
class Sample:
    when: datetime
    values: npt.NDArray[np.float64]
    raw: bytes


class Echo(rpc.Service):
    """Returns what it is given; each method for one type."""

    @rpc.method
    def integer(self, value: int) -> int:
        return value

    @rpc.method
    def real(self, value: float) -> float:
        return value

    @rpc.method
    def flag(self, value: bool) -> bool:
        return value

    @rpc.method
    def text(self, value: str) -> str:
        return value

    @rpc.method
    def data(self, value: bytes) -> bytes:
        return value

    @rpc.method
    def nothing(self, value: None) -> None:
        return value

    @rpc.method
    def moment(self, value: datetime) -> datetime:
        return value

    @rpc.method
    def day(self, value: date) -> date:
        return value

    @rpc.method
    def hour(self, value: time) -> time:
        return value

    @rpc.method
    def span(self, value: timedelta) -> timedelta:
        return value

    @rpc.method
    def path(self, value: Path) -> Path:
        return value

    @rpc.method
    def pure(self, value: PurePath) -> PurePath:
        return value

    @rpc.method
    def ip(self, value: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
        return value

    @rpc.method
    def host(self, value: ipaddress.IPv4Interface) -> ipaddress.IPv4Interface:
        return value

    @rpc.method
    def networks(
        self, value: dict[ipaddress.IPv4Network, Path]
    ) -> dict[ipaddress.IPv4Network, Path]:
        return value

    @rpc.method
    def fraction(self, value: Fraction) -> Fraction:
        return value

    @rpc.method
    def imaginary(self, value: complex) -> complex:
        return value

    @rpc.method
    def queue(self, value: deque[bytes]) -> deque[bytes]:
        return value

    @rpc.method
    def queues(self, value: list[deque[deque[Fraction]]]) -> list[deque[deque[Fraction]]]:
        return value

    @rpc.method
    def ordered(self, value: OrderedDict[int, Leaf]) -> OrderedDict[int, Leaf]:
        return value

    @rpc.method
    def uuid(self, value: UUID) -> UUID:
        return value

    @rpc.method
    def decimal(self, value: Decimal) -> Decimal:
        return value

    @rpc.method
    def color(self, value: Color) -> Color:
        return value

    @rpc.method
    def level(self, value: Level) -> Level:
        return value

    @rpc.method
    def literal(self, value: Literal["a", "b", 3]) -> Literal["a", "b", 3]:
        return value

    @rpc.method
    def optional(self, value: Optional[int]) -> int | None:  # noqa: UP045
        return value

    @rpc.method
    def union(self, value: int | str | list[float] | None) -> int | str | list[float] | None:
        return value

    @rpc.method
    def pet(self, value: Cat | Dog) -> Cat | Dog:
        return value

    @rpc.method
    def tree(self, value: Tree) -> Tree:
        return value

    @rpc.method
    def point(self, value: Point) -> Point:
        return value

    @rpc.method
    def row(self, value: Row) -> Row:
        return value

    @rpc.method
    def lists(self, value: list[list[int]]) -> list[list[int]]:
        return value

    @rpc.method
    def pair(self, value: tuple[int, str]) -> tuple[int, str]:
        return value

    @rpc.method
    def numbers(self, value: tuple[int, ...]) -> tuple[int, ...]:
        return value

    @rpc.method
    def words(self, value: set[str]) -> set[str]:
        return value

    @rpc.method
    def frozen(self, value: frozenset[int]) -> frozenset[int]:
        return value

    @rpc.method
    def mapping(self, value: dict[str, dict[int, bytes]]) -> dict[str, dict[int, bytes]]:
        return value

    @rpc.method
    def anything(self, value: Any) -> Any:
        return value

    @rpc.method
    def small(self, value: Annotated[int, msgspec.Meta(ge=0, lt=10)]) -> int:
        return value

    @rpc.method
    def array(self, value: np.ndarray) -> np.ndarray:
        return value

    @rpc.method
    def floats(self, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return value

    @rpc.method
    def arrays(self, value: dict[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
        return value

    @rpc.method
    def sample(self, value: Sample) -> Sample:
        return value

    @rpc.method
    def maybe(self, value: np.ndarray | None) -> np.ndarray | None:
        return value

    @rpc.method
    def parts(self, head: bytes, x: np.ndarray, tail: bytes) -> tuple[bytes, np.ndarray, bytes]:
        return head, x, tail

    @rpc.method
    def blobs(self, value: list[bytes]) -> list[bytes]:
        return value

    @rpc.method
    def facts(self, value: np.ndarray) -> dict[str, bool]:
        """What the method may do with the array that it has got."""
        value[...] = value
        return {"writeable": value.flags.writeable, "aligned": value.flags.aligned}

    @rpc.method
    def wrong(self, kind: str) -> int:
        return {"text": "seven", "none": None, "big": 2**70}[kind]

    @rpc.method
    def rows(self, count: int) -> Iterator[np.ndarray]:
        for number in range(count):
            yield np.full(number, number, np.int32)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """One server for all examples of a test."""
    with rpc.serve(Echo()) as server, rpc.connect(Echo, server.address, timeout=WAIT) as stub:
        yield stub


examples = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text()
moments = st.datetimes(timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=5.5))]))  # noqa: UP017
leaves = st.builds(Leaf, texts, st.sampled_from(Color), st.lists(texts, max_size=3))
trees = st.recursive(
    st.builds(Tree, leaves), lambda inner: st.builds(Tree, leaves, st.lists(inner, max_size=3))
)
cats = st.builds(Cat, st.integers(0, 9))
long_integers = st.integers(-(2**63), 2**64 - 1)
plain = st.recursive(
    st.none() | st.booleans() | long_integers | st.floats(allow_nan=False) | texts | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)

VALUES = {
    "integer": long_integers,
    "real": st.floats(allow_nan=False),
    "flag": st.booleans(),
    "text": texts,
    "data": st.binary(),
    "nothing": st.none(),
    "path": texts.map(Path),
    "pure": texts.map(PurePath),
    "ip": st.ip_addresses(v=6),
    "host": st.ip_addresses(v=4).map(ipaddress.IPv4Interface),
    "networks": st.dictionaries(
        st.ip_addresses(v=4).map(ipaddress.IPv4Network), texts.map(Path), max_size=3
    ),
    "fraction": st.fractions(),
    "imaginary": st.complex_numbers(allow_nan=False),
    "queue": st.lists(st.binary(), max_size=4).map(deque),
    "queues": st.lists(st.lists(st.lists(st.fractions()).map(deque), max_size=3).map(deque)),
    "ordered": st.lists(st.tuples(long_integers, leaves), max_size=4).map(OrderedDict),
    "moment": moments | st.datetimes(),
    "day": st.dates(),
    "hour": st.times(),
    "span": st.timedeltas(timedelta(days=-10000), timedelta(days=10000)),
    "uuid": st.uuids(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False),
    "color": st.sampled_from(Color),
    "level": st.sampled_from(Level),
    "literal": st.sampled_from(["a", "b", 3]),
    "optional": st.none() | long_integers,
    "union": st.none() | long_integers | texts | st.lists(st.floats(allow_nan=False)),
    "pet": cats | st.builds(Dog, texts, st.none() | cats),
    "tree": trees,
    "point": st.builds(Point, *[st.floats(allow_nan=False)] * 2),
    "row": st.fixed_dictionaries({"name": texts, "count": long_integers}),
    "lists": st.lists(st.lists(long_integers)),
    "pair": st.tuples(long_integers, texts),
    "numbers": st.lists(long_integers).map(tuple),
    "words": st.sets(texts),
    "frozen": st.frozensets(long_integers),
    "mapping": st.dictionaries(texts, st.dictionaries(long_integers, st.binary())),
    "anything": plain,
    "small": st.integers(0, 9),
}


@pytest.mark.parametrize("name", VALUES)
@examples
@given(data=st.data())
def test_values_arrive_as_they_were(echo, name, data):
    value = data.draw(VALUES[name])
    result = getattr(echo, name)(value)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308])
def test_floats_at_the_edges(echo, value):
    assert math.copysign(1, echo.real(value)) == math.copysign(1, value)
    assert echo.real(value) == value
    assert math.isnan(echo.real(math.nan))


# ---- Bytes ----


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000, 5_000_001])
def test_bytes_of_every_length(echo, size):
    value = bytes(range(251)) * (size // 251 + 1)
    value = value[:size]
    assert echo.data(value) == value
    assert type(echo.data(value)) is bytes
    assert echo.blobs([value, b"", value]) == [value, b"", value]
    assert echo.mapping({"a": {1: value}}) == {"a": {1: value}}


@pytest.mark.parametrize("size", [10, 70_000])
def test_long_bytes_and_arrays_beside_each_other(echo, size):
    head, tail, x = b"h" * size, b"t" * (size + 1), np.arange(float(size))
    got = echo.parts(head, x, tail)
    assert (got[0], got[2]) == (head, tail)
    np.testing.assert_array_equal(got[1], x)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_buffers_are_sent_as_bytes(echo, kind):
    for size in 5, 100_000:
        assert echo.data(kind(b"x" * size)) == b"x" * size


# ---- Arrays ----

dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(endianness="?"),
    hnp.timedelta64_dtypes(endianness="?"),
    hnp.byte_string_dtypes(endianness="?"),
    hnp.unicode_string_dtypes(endianness="?"),
)
shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)


def assert_same(got, sent):
    assert got.dtype == sent.dtype
    assert got.shape == sent.shape
    assert got.tobytes() == sent.tobytes()


@settings(parent=examples, max_examples=300)
@given(value=dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes)))
def test_arrays_of_every_plain_dtype_and_shape(echo, value):
    assert_same(echo.array(value), value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(60).reshape(3, 4, 5).transpose(2, 0, 1),
        np.arange(100)[::-3],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.broadcast_to(np.arange(3), (4, 3)),
        np.arange(10, dtype=">i4")[2:7],
        np.array(7.5),
        np.zeros((0, 5), np.int8),
        np.zeros((3, 0, 2)),
        np.frombuffer(b"read only", np.uint8),
        np.arange(1_000_000, dtype=np.float32).reshape(1000, 1000)[:, ::2],
        np.array([b"bytes", b""]),
        np.array(["unicode", "ü"]),
        np.array(["2024-02-29", "NaT"], "datetime64[D]"),
    ],
    ids=lambda value: f"{value.dtype.str}{list(value.shape)}",
)
def test_views_and_odd_shapes(echo, value):
    assert_same(echo.array(value), value)


@examples
@given(value=st.dictionaries(texts, st.lists(hnp.arrays(np.int16, shapes), max_size=3), max_size=3))
def test_arrays_in_containers(echo, value):
    got = echo.arrays(value)
    assert got.keys() == value.keys()
    for name in value:
        assert len(got[name]) == len(value[name])
        for ours, theirs in zip(value[name], got[name], strict=True):
            assert_same(theirs, ours)


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_arrays_in_dataclasses(echo, size):
    sample = Sample(datetime(2024, 2, 29, 12), np.linspace(0, 1, size), b"r" * size)
    got = echo.sample(sample)
    assert (got.when, got.raw) == (sample.when, sample.raw)
    assert_same(got.values, sample.values)


def test_arrays_in_streams_and_unions(echo):
    for number, row in enumerate(echo.rows(300)):
        assert_same(row, np.full(number, number, np.int32))
    assert echo.maybe(None) is None
    assert_same(echo.maybe(np.arange(3)), np.arange(3))


@pytest.mark.parametrize("size", [3, 50_000])
def test_the_receiver_owns_its_array(echo, size):
    """It may write to it, and its items lie as the processor wants them."""
    value = np.arange(float(size))
    assert echo.facts(value) == {"writeable": True, "aligned": True}
    with rpc.metadata(odd="number of bytes"):
        assert echo.facts(value) == {"writeable": True, "aligned": True}
    got = echo.array(value)
    got[0] = 7
    assert value[0] == 0


def test_numpy_s_numbers_are_sent_as_python_s(echo):
    assert echo.real(np.float64(1.5)) == 1.5
    assert echo.real(np.float32(1.5)) == 1.5
    assert echo.integer(np.int16(3)) == 3
    assert echo.flag(np.bool_(True)) is True
    assert echo.lists([[np.int64(1), 2]]) == [[1, 2]]


def test_an_annotated_dtype_is_enforced(echo):
    assert_same(echo.floats(np.arange(3.0)), np.arange(3.0))
    with pytest.raises(rpc.WrongArguments, match="float64.*int64"):
        echo.floats(np.arange(3))
    with pytest.raises(rpc.WrongArguments, match="float64.*int64"):
        echo.sample(Sample(datetime.now(), np.arange(3), b""))


# ---- What is refused ----

WRONG = [
    ("integer", "1", "Expected `int`, got `str`"),
    ("integer", 1.5, "Expected `int`, got `float`"),
    ("integer", True, "Expected `int`, got `bool`"),
    ("real", "x", "Expected `float`, got `str`"),
    ("text", b"x", "Expected `str`, got `bytes`"),
    ("data", "x", "Expected `bytes.*got `str`"),
    ("color", "green", "Invalid enum value 'green'"),
    ("level", 2, "Invalid enum value 2"),
    ("literal", "c", "Invalid enum value 'c'"),
    ("uuid", "no uuid", "Invalid UUID"),
    ("path", b"x", r"Expected `Path`, got `bytes` - at `\$\[0\]`"),
    ("ip", "1.2.3.4", "Expected `IPv6Address`, got '1.2.3.4'"),
    ("ip", 1, "Expected `IPv6Address`, got `int`"),
    ("host", "1.2.3.4/33", "Expected `IPv4Interface`"),
    ("networks", {"1.2.3.4/8": "x"}, "Expected `IPv4Network`"),
    ("fraction", "1/0", "Expected `Fraction`, got '1/0'"),
    ("fraction", "1e999999999", "Expected `Fraction`"),
    ("fraction", 1.5, "Expected `Fraction`, got `float`"),
    ("imaginary", [1, "2"], "Expected `complex`, got `list`"),
    ("imaginary", [1, 2, 3], "Expected `complex`, got `list`"),
    ("imaginary", True, "Expected `complex`, got `bool`"),
    ("queue", ["YWJj"], "Expected `bytes`, got `str`"),
    ("queue", {"a": 1}, "Expected `deque`, got `dict`"),
    ("queues", [[["1/3", 3]]], "Expected `Fraction`, got `int`"),
    ("ordered", {"1": Leaf("x")}, "Expected `int`, got `str`"),
    ("ordered", [1], "Expected `OrderedDict`, got `list`"),
    ("pair", (1, 2), r"Expected `str`, got `int` - at `\$\[0\]\[1\]`"),
    ("lists", [[1], ["x"]], r"Expected `int`, got `str` - at `\$\[0\]\[1\]\[0\]`"),
    ("tree", Tree(Leaf(3)), "Expected `str`, got `int`"),
    ("row", {"name": "x"}, "missing required field `count`"),
    ("small", 10, "Expected `int` <= 9"),
    ("nothing", 0, "Expected `null`, got `int`"),
    ("array", [1, 2], "ndarray"),
    ("array", None, "ndarray"),
    ("maybe", 3, "ndarray"),
    ("floats", 3.0, "ndarray"),
]


@pytest.mark.parametrize("name, value, says", WRONG, ids=[f"{n} {v!r:.30}" for n, v, _ in WRONG])
def test_wrong_arguments_do_not_reach_the_method(echo, name, value, says):
    with pytest.raises(rpc.WrongArguments, match=says):
        getattr(echo, name)(value)


@pytest.mark.parametrize("kind, says", [("text", "got `str`"), ("none", "got `None`")])
def test_wrong_results_do_not_reach_the_caller(echo, kind, says):
    with pytest.raises(rpc.WrongResult, match=says):
        echo.wrong(kind)


def test_a_result_that_cannot_be_sent(echo):
    with pytest.raises(rpc.WrongResult, match="wrong"):
        echo.wrong("big")


class Plain:
    pass


UNSENDABLE = [
    (lambda: lambda: None, "function cannot be sent"),
    (Plain, "Plain cannot be sent"),
    (lambda: np.array([object()]), "dtype object cannot be sent"),
    (lambda: np.zeros(2, "i4,f8"), "cannot be sent"),
    (lambda: iter([1]), "list_iterator cannot be sent"),
    (lambda: PureWindowsPath("a"), "PureWindowsPath cannot be sent"),
    (lambda: deque([1], maxlen=3), "a deque with maxlen cannot be sent"),
    (type("Queue", (deque,), {}), "Queue cannot be sent"),
    (lambda: np.ma.array([1, 2], mask=[True, False]), "MaskedArray cannot be sent"),
    (lambda: [Plain()], "Plain cannot be sent"),
    (lambda: {"a": {"b": Plain()}}, "Plain cannot be sent"),
    (lambda: Plain, "type cannot be sent"),
]


@pytest.mark.parametrize("make, says", UNSENDABLE, ids=[says for _, says in UNSENDABLE])
def test_what_cannot_be_sent_is_a_clear_type_error(echo, make, says):
    for call in echo.anything, echo.anything.begin:
        with pytest.raises(TypeError, match=says):
            call(make())
    assert echo.integer(1) == 1


def test_integers_of_more_than_64_bits(echo):
    with pytest.raises(ValueError, match=r"ints < -2\*\*63 or > 2\*\*64 - 1"):
        echo.anything([2**64])


def test_text_that_is_not_unicode(echo):
    with pytest.raises(ValueError, match="surrogates"):
        echo.text("\udcff")


def test_a_value_that_contains_itself(echo):
    value: list[Any] = []
    value.append(value)
    with pytest.raises((RecursionError, TypeError)):
        echo.anything(value)
    assert echo.integer(1) == 1


def test_deep_values_are_refused_where_they_are_read(echo):
    value: list[Any] = []
    for _ in range(500):
        value = [value]
    depth, got = 0, echo.anything(value)
    while got:
        depth, got = depth + 1, got[0]
    assert depth == 500
