"""fastsock.rpc: what a body becomes when it is decoded has a limit, on both sides: a byte of a peer
can be a whole map, and a record with all its defaults."""

import asyncio
import dataclasses
import struct
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
import rpc_raw as raw
from conftest import WAIT, wait_until
from rpc_raw import LyingServer, Peer, RawClient, frame, pack, server_hello

from fastsock import rpc
from fastsock.rpc.values.marshal import Codec
from fastsock.rpc.values.weights import VALUE_BYTES, VALUES_MAX
from fastsock.rpc.wire import CHUNK_BYTES, Malformed

pytest_plugins = ("rpc_fixtures",)

ARGUMENTS = 2
"""The code of an error."""


@dataclasses.dataclass
class Settings:
    """Becomes 21 objects of a byte."""

    lists: list[int] = dataclasses.field(default_factory=list)
    first: int = 1
    second: int = 2


class Short(msgspec.Struct, array_like=True):
    first: int = 1
    lists: list[int] = []


class Eater(rpc.Service):
    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.gate: asyncio.Event | None = None

    @rpc.method
    def any(self, value: Any) -> int:
        return 1

    @rpc.method(inline=True)
    def inline_any(self, value: Any) -> int:
        return 2

    @rpc.method(inline=True)
    def settings(self, value: list[Settings]) -> int:
        return len(value)

    @rpc.method
    def numbers(self, value: list[float]) -> list[float]:
        return value

    @rpc.method
    async def wait(self, value: Any) -> int:
        self.loop, self.gate = asyncio.get_running_loop(), asyncio.Event()
        await self.gate.wait()
        return 3

    def open(self) -> None:
        assert self.loop is not None and self.gate is not None
        self.loop.call_soon_threadsafe(self.gate.set)


def many(head: bytes, count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count) + head * count


def say_call(client: RawClient, name: str, body: bytes, number: int = 1, flags: int = 0) -> None:
    method = client.methods[name][0]
    head, room = struct.pack(">Q", len(body)), CHUNK_BYTES - 8
    client.say(
        frame(raw.CALL, number, head + body[:room], method=method, flags=flags | raw.MORE),
        *(
            frame(raw.CHUNK, number, body[at : at + CHUNK_BYTES])
            for at in range(room, len(body), CHUNK_BYTES)
        ),
    )


HEADS = {
    "nil": b"\xc0",
    "map": b"\x80",
    "list": b"\x90",
    "text": b"\xa2ab",
    "pair": b"\x81\x01\x80",
}


@pytest.mark.parametrize("method", ["any", "inline_any"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_arguments_of_too_many_values_are_refused(start, method, head):
    """Sixteen MiB of them were 1.2 GiB, and took seconds."""
    with RawClient(start(Eater()).address) as client:
        say_call(client, method, b"\x91" + many(head, VALUES_MAX + 1))
        kind, value = (answer := client.hear_answer(1)).kind, answer.value
        assert (kind, value[0]) == (raw.ERROR, ARGUMENTS)
        assert f"more than {VALUES_MAX} values, which values_max is" in value[2]
        client.call(2, method, [1])
        assert client.result(2)


def test_beside_segments_they_count_too(start):
    packed = b"\x91" + many(b"\x80", 200_000)
    table = struct.pack(">IQQ", 2, len(packed), 8)
    body = table + bytes(-len(table) % 16) + packed
    body += bytes(-len(body) % 16) + bytes(8)
    with RawClient(start(Eater()).address) as client:
        say_call(client, "any", body, flags=raw.SEGMENTS)
        assert "values_max" in client.hear_answer(1).value[2]


@pytest.mark.parametrize("method, count", [("settings", 60_000), ("settings", 200_000)])
def test_defaults_that_a_peer_does_not_send_count(start, method, count):
    """A frame of them took the thread that serves all clients a quarter of a second."""
    with RawClient(start(Eater()).address) as client:
        say_call(client, method, b"\x91" + many(b"\x80", count))
        assert "values_max" in client.hear_answer(1).value[2]
        client.call(2, "settings", [{}] * 100)
        assert client.result(2) == 100


def test_many_numbers_pass_and_the_limit_can_be_set(start, stub):
    small = stub(start(Eater(), values_max=100_000), Eater, timeout=WAIT)
    assert len(small.numbers([0.5] * 50_000)) == 50_000
    with pytest.raises(rpc.WrongArguments, match="more than 100000 values, which values_max is"):
        small.numbers([0.5] * 100_000)
    large = stub(start(Eater(), values_max=1 << 24), Eater, timeout=WAIT, values_max=300_000)
    assert large.any([{}] * 200_000) == 1
    with pytest.raises(rpc.WrongResult, match="more than 300000 values, which values_max is"):
        large.numbers([0.5] * 400_000)
    for connect in rpc.serve, lambda *given, **limit: rpc.connect(Eater, *given[1:], **limit):
        with pytest.raises(ValueError, match="values_max"):
            connect(Eater(), ("127.0.0.1", 0), values_max=0)


@pytest.mark.parametrize("kind", [raw.REPLY, raw.ERROR])
def test_answers_of_too_many_values_are_refused(start, kind):
    infos = RawClient(start(Eater()).address)
    values = many(b"\x80", 200_000)
    body = values if kind == raw.REPLY else b"\x95\x00\xa1E\xa1m\xa0" + values
    method = "numbers" if kind == raw.REPLY else "any"
    limit = "values_max" if kind == raw.REPLY else "FAILURE_VALUES_MAX"

    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello(infos.methods, service="Eater"))
        while (heard := peer.hear()) is not None:
            if heard.kind == raw.CALL:
                pieces = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
                peer.say(
                    frame(kind, heard.call, struct.pack(">Q", len(body)), flags=raw.MORE),
                    *(frame(raw.CHUNK, heard.call, piece) for piece in pieces),
                )

    with (
        infos,
        LyingServer(script) as liar,
        rpc.connect(Eater, liar.address, timeout=WAIT) as stub,
        pytest.raises(rpc.WrongResult, match=f"more than .* values, which {limit} is"),
    ):
        getattr(stub, method)([])


def test_decoded_arguments_are_held(start, stub):
    """Twenty kilobytes of maps are more than one MiB."""
    eater = Eater()
    server = start(eater, held_bytes_max=8 << 20)
    client, other = (stub(server, Eater, timeout=WAIT) for _ in range(2))
    value: list[Any] = [{}] * 20_000
    weight = Codec(tuple[Any]).weigh(0, pack([value]), VALUES_MAX)
    assert weight == 8 * 20_002
    waiting = client.wait.begin(value)
    wait_until(lambda: eater.gate is not None, "the method")
    assert weight * VALUE_BYTES > 6 << 20
    with pytest.raises(rpc.Overloaded, match="no room for its arguments: held_bytes_max"):
        other.any(value)
    eater.open()
    assert waiting.result() == 3
    assert other.any(value) == client.any(value) == 1


WEIGHTS: list[tuple[Any, Any, int]] = [
    (list[int], [1, 2**40, -1], 8 + 3),
    (list[float], [1.5] * 3, 8 + 3),
    (Any, [None, True, False], 8 + 3),
    (Any, "x" * 1000, 2 + 1003 // 64),
    (list[str], ["", "x"], 8 + 4),
    (bytes, b"x" * 5000, 2 + 4),
    (dict[str, int], {"a": 1, "b": 2}, 8 + 6),
    (list[list[int]], [[], [1]], 8 + 8 + 9),
    (set[int], {1}, 32 + 1),
    (list[UUID], [UUID(int=1)], 8 + 2 + 16),
    (list[Decimal], [Decimal(1)], 8 + 5),
    (list[Settings], [{}, {}], 8 + 2 * (8 + 32 + 2 + 2)),
    (list[Short], [[]], 2 * (8 + 2 + 32)),
    (Any, msgspec.msgpack.Ext(7, b"x" * 100), 8 + 1),
]


@pytest.mark.parametrize("kind, value, weight", WEIGHTS, ids=lambda each: str(each)[:30])
def test_what_values_weigh(kind, value, weight):
    filler = pack([0] * 300)
    whole = b"\x92" + filler + pack(value)
    codec = Codec(tuple[list[int], kind])
    array = 32 if kind == set[int] else 42 if kind == list[Short] else 8
    assert codec.weigh(0, whole, VALUES_MAX) == 2 * array + 300 + weight
    with pytest.raises(Malformed, match="values_max"):
        codec.weigh(0, whole, 2 * array + 300 + weight - 1)


@pytest.mark.parametrize("cut", range(0, 2000, 37))
def test_bytes_that_end_too_early_are_weighed_as_far_as_they_go(cut):
    value = [{"x": [1.5, "text" * 20, b"b" * 300, np.int64(3).item()]}] * 5
    whole = pack(value)
    codec = Codec(list[Any])
    assert codec.weigh(0, whole[:cut], VALUES_MAX) <= codec.weigh(0, whole, VALUES_MAX)


def test_a_length_that_is_a_lie_makes_nothing():
    for head in b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9":
        body = head + b"\xff" * 4 + b"\xc0" * 1000
        assert Codec(Any).weigh(0, body, VALUES_MAX) <= 2000
        with pytest.raises(Malformed):
            Codec(Any).decode(0, body)
