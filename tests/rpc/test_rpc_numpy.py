"""fastsock.rpc: numpy's scalars and arrays arrive as they were, under Any too, or are refused."""

import datetime
from collections import deque
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from conftest import WAIT

from fastsock import rpc
from fastsock.rpc.values.marshal import SCALAR, Codec
from fastsock.rpc.wire import Malformed

pytest_plugins = ("rpc_fixtures",)

SCALARS = [
    *(np.int8(-1), np.int64(5), np.uint64(2**64 - 1), np.bool_(True), np.bool_(False)),
    *(np.float16(0.1), np.float32(0.1), np.float64(1.5), np.float64("nan")),
    *(np.complex64(1 + 2j), np.complex128(1j), np.str_("ü"), np.bytes_(b"\x00x")),
    *(np.datetime64("2026-01-01"), np.datetime64("NaT"), np.datetime64(7, "25s")),
    *(np.timedelta64(5), np.timedelta64(5, "ns"), np.timedelta64(-5, "Y")),
]


def through(kind: Any, value: Any) -> Any:
    """The value as it arrives where that type stands."""
    codec = Codec(kind)
    flags, body = codec.encode(value)
    return codec.decode(flags, body if isinstance(body, bytes) else b"".join(body))


def assert_same(got: Any, sent: Any) -> None:
    assert type(got) is type(sent)
    assert got.dtype == sent.dtype
    assert got.tobytes() == sent.tobytes()


class Own(np.ndarray):
    pass


class Keeper(rpc.Service):
    @rpc.method
    def keep(self, value: Any) -> Any:
        return value

    @rpc.method(inline=True)
    def both(self, number: int, value: Any) -> Any:
        return [number, value]


@pytest.mark.parametrize("value", SCALARS, ids=repr)
def test_a_scalar_under_any_arrives_as_it_was(value):
    assert_same(through(Any, value), value)
    assert_same(through(dict[str, Any], {"a": value})["a"], value)
    assert_same(through(list[Any], [np.arange(3), value])[1], value)
    assert_same(through(deque, deque([value]))[0], value)
    assert_same(through(object, [value])[0], value)
    zoned = datetime.datetime(2026, 7, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert_same(through(Any, [zoned, value])[1], value)


@pytest.mark.parametrize("value", [np.int64(5), np.float32(0.5), np.datetime64(7, "s")], ids=repr)
def test_a_scalar_as_a_key_arrives_as_it_was(value):
    ((key, _),) = through(Any, {value: 1}).items()
    assert_same(key, value)


@pytest.mark.parametrize("value", [5, 1.5, True, "x", b"x"])
def test_what_is_none_of_numpy_s_stays_so(value):
    assert type(through(Any, value)) is type(value)


@pytest.mark.parametrize(
    "value", [np.array(5), np.array(1j), np.array(np.datetime64(7, "s"))], ids=repr
)
def test_an_array_without_sides_stays_an_array(value):
    assert_same(through(Any, value), value)
    assert through(Any, value).shape == ()


def test_over_the_wire(start, stub):
    keeper = stub(start(Keeper()), Keeper, timeout=WAIT)
    assert_same(keeper.keep(np.float32(0.1)), np.float32(0.1))
    number, value = keeper.both(np.int32(3), "x")
    assert (number, type(number)) == (3, int)
    assert keeper.both(np.int32(3), [np.int8(4)]) == [3, [4]]
    with pytest.raises(rpc.WrongArguments, match="Expected `int`, got `float`"):
        keeper.both(np.float64(3), np.int8(4))


TYPED: list[tuple[Any, Any, Any]] = [
    (int, np.int64(3), 3),
    (float, np.float32(0.5), 0.5),
    (bool, np.bool_(True), True),
    (complex, np.complex64(1j), 1j),
    (np.int64, np.int32(4), np.int64(4)),
    (np.float64, 3, np.float64(3)),
    (np.datetime64, "2026-07-01T00:30", np.datetime64("2026-07-01T00:30")),
    (np.timedelta64, 5, np.timedelta64(5)),
    (dict[int, Any], {np.int64(1): "x"}, {1: "x"}),
    (tuple[np.int64, Any], (np.int32(4), "x"), (np.int64(4), "x")),
]


@pytest.mark.parametrize("kind, value, wanted", TYPED, ids=lambda each: str(each)[:30])
def test_where_a_type_stands_a_scalar_becomes_that(kind, value, wanted):
    got = through(kind, value)
    assert (got, type(got)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    "kind, value",
    [
        *((int, np.float64(3)), (int, np.bool_(True)), (bool, np.int8(1)), (float, np.bool_(1))),
        *((np.int64, np.float64(4)), (np.int64, np.bool_(1)), (np.bool_, np.int8(1))),
        *((np.int8, np.int64(300)), (np.datetime64, np.timedelta64(5, "s")), (int, np.str_("3"))),
        *((np.datetime64, "2026-07-01T00:30+02:00"), (np.datetime64, 5), (np.timedelta64, True)),
        *((tuple[np.int64, Any], (np.float64(4), 1)), (np.float32, np.complex64(1))),
    ],
    ids=lambda each: str(each)[:30],
)
def test_scalars_are_checked_as_strictly_as_python_s_numbers(kind, value):
    with pytest.raises(Malformed, match="Expected|out of"):
        through(kind, value)


REFUSED: list[tuple[Any, str]] = [
    (np.longdouble(1), "a longdouble cannot be sent; send a float64"),
    (np.clongdouble(1), "a clongdouble cannot be sent"),
    (np.void(b"abc"), "a void cannot be sent"),
    (np.zeros(1, "i4,f8")[0], "a void cannot be sent"),
    (np.zeros(3, np.longdouble), "an array of dtype float128 cannot be sent; send a float64"),
    (np.zeros(3, "V4"), r"an array of dtype \|V4 cannot be sent"),
    (np.zeros(3, "i4,f8"), "cannot be sent; it is not plain numbers"),
    (np.array([object()]), "an array of dtype object cannot be sent"),
    (np.array(["a"], np.dtypes.StringDType()), "cannot be sent; it is not plain numbers"),
    (np.arange(3).view(Own), r"a Own cannot be sent; send numpy.asarray\(\) of it"),
    (np.rec.array([(1, 2)]), "a recarray cannot be sent"),
    (np.ma.array([1, 2], mask=[True, False]), "a MaskedArray cannot be sent"),
]


@pytest.mark.parametrize("value, says", REFUSED, ids=[says[:30] for _, says in REFUSED])
def test_what_does_not_arrive_as_it_was_is_refused(value, says):
    for kind in Any, np.ndarray:
        with pytest.raises(TypeError, match=says):
            Codec(kind).encode([value] if kind is Any else value)


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
def test_types_that_machines_have_in_several_forms_are_refused_where_declared(dtype):
    class Service(rpc.Service):
        @rpc.method
        def method(self, value: Any) -> None: ...

    Service.method.function.__annotations__["value"] = npt.NDArray[dtype]
    with pytest.raises(TypeError, match=r"use numpy\.float64 or numpy\.complex128"):
        rpc.serve(Service(), ("127.0.0.1", 0))


@pytest.mark.parametrize(
    "meta",
    [
        ["<i8", b"x" * 7],
        ["|O8", b"x" * 8],
        ["<f16", b"x" * 16],
        ["V4", b"x" * 4],
        ["<i8"],
        7,
        ["x"],
    ],
    ids=str,
)
def test_what_is_no_scalar_is_refused(meta):
    packed = msgspec.msgpack.encode(msgspec.msgpack.Ext(SCALAR, msgspec.msgpack.encode(meta)))
    with pytest.raises(Malformed):
        Codec(Any).decode(0, packed)
