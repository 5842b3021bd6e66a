"""fastsock.rpc: bytes of a peer that cannot be read are told as the protocol's error, whatever
reading them raises: text that is no UTF-8, nests, sides of arrays, classes that raise."""

import logging
import struct
from dataclasses import dataclass, make_dataclass
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import rpc_raw as raw
from conftest import WAIT
from rpc_raw import LyingServer, Peer, RawClient, colliding_pairs, frame, pack, server_hello

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

BAD_TEXT = b"\xa1\xe1"
"""A MessagePack str of one byte that is no UTF-8."""

ARGUMENTS, BAD_REQUEST = 2, 5
"""Codes of errors."""


@dataclass
class Picky:
    amount: int

    def __post_init__(self) -> None:
        raise KeyError(self.amount)


class Reader(rpc.Service):
    @rpc.method
    def text(self, value: str) -> str:
        return value

    @rpc.method(inline=True)
    def inline_text(self, value: str) -> str:
        return value

    @rpc.method
    def picky(self, value: Picky) -> int:
        return 1

    @rpc.method
    def total(self, value: npt.NDArray[np.float64]) -> float:
        return float(value.sum())

    @rpc.method
    def table(self, value: dict[tuple[int, int], int]) -> int:
        return len(value)

    @rpc.method
    def numbers(self, value: dict[float, int]) -> dict[float, int]:
        return value

    @rpc.method
    def i64(self, value: np.int64) -> int:
        return int(value)

    @rpc.method
    def span(self, value: np.timedelta64) -> np.timedelta64:
        return value

    @rpc.method
    def c128(self, value: np.complex128) -> np.complex128:
        return value

    @rpc.method
    def u8(self, value: np.uint8) -> int:
        return int(value)

    @rpc.method
    def f32(self, value: np.float32) -> float:
        return float(value)

    @rpc.method
    def flag(self, value: np.bool_) -> bool:
        return bool(value)

    @rpc.method
    def small(self) -> np.int8:
        return 300  # type: ignore[return-value]

    @rpc.method
    def anything(self, value: Any) -> int:
        return 1


@pytest.fixture
def server(start, caplog):
    """One that logs no error and serves a friend afterwards."""
    server = start(Reader())
    yield server
    with rpc.connect(Reader, server.address, timeout=WAIT) as friend:
        assert friend.text("x") == friend.inline_text("x") == "x"
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


# ---- Text that is no UTF-8 ----


def test_metadata_of_a_call(server):
    with RawClient(server.address) as client:
        packed = b"\x81" + BAD_TEXT + BAD_TEXT
        body = len(packed).to_bytes(2, "big") + packed + pack(["x"])
        number = client.methods["text"][0]
        client.say(frame(raw.CALL, 1, body, method=number, flags=raw.METADATA))
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, BAD_REQUEST)
        client.call(2, "text", "lives on")
        assert client.result(2) == "lives on"


def test_a_client_s_hello(server):
    with RawClient(server.address, greet=False) as client:
        hello = client.hello_payload(service="T").replace(b"\xa1T", BAD_TEXT)
        client.say(frame(raw.HELLO, payload=hello))
        answer = client.hear()
        assert (answer.kind, answer.value[0]) == (raw.REFUSED, BAD_REQUEST)
        assert "cannot be read" in answer.value[2]


@pytest.mark.parametrize("method", ["text", "inline_text"])
def test_an_argument(server, method):
    with RawClient(server.address) as client:
        number = client.methods[method][0]
        client.say(frame(raw.CALL, 1, b"\x91" + BAD_TEXT, method=number))
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, ARGUMENTS)


def test_a_server_s_hello():
    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello({}, service="S").replace(b"\xa1S", BAD_TEXT))
        peer.hear()

    refused = pytest.raises(rpc.BadRequest, match="its hello cannot be read")
    with LyingServer(script) as liar, refused:
        rpc.connect(Reader, liar.address, timeout=WAIT)


@pytest.mark.parametrize("kind", [raw.ERROR, raw.REPLY])
def test_an_answer(server, kind):
    with RawClient(server.address) as client:
        infos = client.methods

    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello(infos, service="Reader"))
        while (heard := peer.hear()) is not None:
            if heard.kind == raw.CALL:
                body = b"\x93\x00\xa1E" + BAD_TEXT if kind == raw.ERROR else BAD_TEXT
                peer.say(frame(kind, heard.call, body))

    with LyingServer(script) as liar, rpc.connect(Reader, liar.address, timeout=WAIT) as stub:
        with pytest.raises(rpc.WrongResult):
            stub.text("x")
        with pytest.raises(rpc.WrongResult):
            stub.text.begin("x").result()


# ---- Whatever else reading raises ----


def test_a_class_that_does_not_take_its_fields(server):
    with RawClient(server.address) as client:
        client.call(1, "picky", {"amount": 5})
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, ARGUMENTS)


def array_body(sides: int, *, side: int = (1 << 63) - 1) -> bytes:
    """A body whose only argument is an array of that many sides."""
    shape = b"\xdd" + struct.pack(">I", sides) + (b"\xcf" + struct.pack(">Q", side)) * sides
    meta = b"\x93\x00" + pack("<f8") + shape
    packed = b"\x91\xc9" + struct.pack(">IB", len(meta), 1) + meta
    table = struct.pack(">IQQ", 2, len(packed), 8)
    body = table + bytes(-len(table) % 16) + packed
    return body + bytes(-len(body) % 16) + bytes(8)


@pytest.mark.parametrize("method", ["total", "anything"])
@pytest.mark.parametrize("sides", [33, 65, 400_000])
def test_sides_of_an_array_are_counted_before_they_are_multiplied(server, method, sides):
    """400,000 sides took minutes, with the GIL held: no deadline and no signal was heeded."""
    body = array_body(sides)
    with RawClient(server.address) as client:
        number = client.methods[method][0]
        head = struct.pack(">Q", len(body))
        pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        client.say(
            frame(raw.CALL, 1, head, method=number, flags=raw.SEGMENTS | raw.MORE),
            *(frame(raw.CHUNK, 1, piece) for piece in pieces),
        )
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, ARGUMENTS)


def test_an_array_of_as_many_sides_as_numpy_has(server):
    with rpc.connect(Reader, server.address, timeout=WAIT) as stub:
        assert stub.total(np.ones((1,) * 64)) == 1.0


# ---- Keys that collide ----


def packed_map(pairs: list[tuple[int, int]]) -> bytes:
    head = b"\xdf" + struct.pack(">I", len(pairs))
    return head + b"".join(pack(pair) + b"\x01" for pair in pairs)


def test_the_pairs_collide():
    assert len({hash(pair) for pair in colliding_pairs(1000)}) == 1


@pytest.mark.parametrize("method", ["table", "anything"])
def test_a_map_whose_keys_collide_is_refused(server, method):
    """60,000 such keys took half a minute, in which nobody else was served."""
    body = b"\x91" + packed_map(colliding_pairs(60_000))
    with RawClient(server.address) as client:
        pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        number, head = client.methods[method][0], struct.pack(">Q", len(body))
        client.say(
            frame(raw.CALL, 1, head, method=number, flags=raw.MORE),
            *(frame(raw.CHUNK, 1, piece) for piece in pieces),
        )
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, ARGUMENTS)
        assert "60000 keys that collide" in answer.value[2]


def test_an_error_whose_values_hold_such_a_map(server):
    with RawClient(server.address) as client:
        infos = client.methods
    failure = b"\x95\x00\xa1E\xa1m\xa0\x91" + packed_map(colliding_pairs(3000))

    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello(infos, service="Reader"))
        while (heard := peer.hear()) is not None:
            if heard.kind == raw.CALL:
                peer.say(frame(raw.ERROR, heard.call, failure))

    refused = pytest.raises(rpc.WrongResult, match="3000 keys that collide")
    with (
        LyingServer(script) as liar,
        rpc.connect(Reader, liar.address, timeout=WAIT) as stub,
        refused,
    ):
        stub.text("x")


@pytest.mark.parametrize(
    "value",
    [{float(number << shift): number for number in range(2000)} for shift in (0, 10, 20, 32, 45)]
    + [{-number / 8: 1 for number in range(5000)}, {number / 10: 1 for number in range(5000)}],
    ids=range(7),
)
def test_maps_of_many_numbers_arrive(server, value):
    with rpc.connect(Reader, server.address, timeout=WAIT) as stub:
        assert stub.numbers(value) == value
        assert stub.table({(number, number * 7): 1 for number in range(5000)}) == 5000


# ---- numpy's scalars ----


@pytest.mark.parametrize(
    "method, value",
    [
        ("i64", 2.7),
        ("i64", "12"),
        ("i64", True),
        ("f32", "1.5"),
        ("f32", 1e300),
        ("flag", "no"),
        ("flag", 1),
        ("u8", 300),
        ("u8", -1),
    ],
)
def test_numpy_s_scalars_are_checked_as_python_s(server, method, value):
    with rpc.connect(Reader, server.address, timeout=WAIT) as stub:
        with pytest.raises(rpc.WrongArguments):
            getattr(stub, method)(value)
        with pytest.raises(rpc.WrongResult):
            stub.small()
        assert stub.i64(np.int64(-5)) == -5
        assert stub.f32(np.float32(1.5)) == stub.f32(1.5) == 1.5
        assert stub.flag(np.bool_(True)) is True


def test_scalars_with_units_arrive_as_they_were(server):
    with rpc.connect(Reader, server.address, timeout=WAIT) as stub:
        for unit in ("ns", "s", "Y"):
            got = stub.span(np.timedelta64(5, unit))
            assert (got, got.dtype) == (np.timedelta64(5, unit), np.dtype(f"m8[{unit}]"))
        assert stub.c128(np.complex128(1 + 2j)) == 1 + 2j
        with pytest.raises(TypeError, match="longdouble cannot be sent"):
            stub.anything(np.longdouble("1.5"))


# ---- Interfaces ----

Item = TypeVar("Item")


def paged(field: str) -> type[rpc.Service]:
    page = make_dataclass("Page", [("x", int), (field, Item, 0)], bases=(Generic[Item],))

    class Pages(rpc.Service):
        @rpc.method
        def get(self, page: Any) -> None: ...

    Pages.get.function.__annotations__["page"] = page[int]
    return Pages


def test_fields_of_generic_records_are_compared(start):
    server = start(paged("y")())
    with rpc.connect(paged("y"), server.address, timeout=WAIT):
        pass
    with pytest.raises(rpc.InterfaceMismatch, match="other fields"):
        rpc.connect(paged("z"), server.address, timeout=WAIT)


@pytest.mark.parametrize("name", ["close", "rpc_version"])
def test_names_that_a_stub_needs_are_refused(name):
    def function(self) -> None: ...

    function.__name__ = name
    service = type("Account", (rpc.Service,), {name: rpc.method(function)})
    with pytest.raises(TypeError, match=f"a stub needs {name}"):
        rpc.serve(service(), ("127.0.0.1", 0))


def test_malformed_is_all_that_reading_raises():
    with pytest.raises(rpc.wire.Malformed, match="nested too deep"):
        rpc.wire.checked(msgspec.msgpack.decode)(b"\x91" * 100_000)
    with pytest.raises(rpc.wire.Malformed, match="no memory"):
        rpc.wire.checked(refuse)(MemoryError())
    with pytest.raises(rpc.wire.Malformed, match="OverflowError"):
        rpc.wire.checked(refuse)(OverflowError())
    with pytest.raises(KeyboardInterrupt):
        rpc.wire.checked(refuse)(KeyboardInterrupt())


def refuse(error: BaseException) -> None:
    raise error
