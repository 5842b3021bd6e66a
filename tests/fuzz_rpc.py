"""Made-up values and frames for fastsock.rpc: decoding, a running server, a stub of a server that
lies. Each input takes at most a second, and ends in a value or in an error of the package.

    python tests/fuzz_rpc.py [seconds] [seed]

A finding ends it with the seed and the input; the same seed makes the same inputs in their order.
"""

import os
import random
import select
import signal
import struct
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
import rpc_raw as raw
from conftest import read_to_end
from rpc_raw import LyingServer, RawClient

from fastsock import rpc
from fastsock.rpc import wire
from fastsock.rpc.interface import interface_of
from fastsock.rpc.values.marshal import Codec
from fastsock.rpc.values.moments import MARK
from fastsock.rpc.values.weights import VALUES_MAX

INPUT_SECONDS = 1.0

SILENCE_SECONDS = 30.0
"""After so long an input does not end. Other programs may keep the processors for a while."""

TEXTS = ["", "a", "x" * 300, "1/0", "1e999999999", "::/0", "2020-01-01T00:00:00Z", "-7", "\x00/.."]
EDGES = [0, 1, -1, 127, 128, 2**31, 2**32 - 1, -(2**63), 2**63, 2**64 - 1]


@dataclass
class Node:
    name: str
    sides: "list[Node]"
    size: Fraction | None = None


Item = TypeVar("Item")


@dataclass
class Group(Generic[Item]):
    members: set[Item]
    named: dict[UUID, Item] = field(default_factory=dict)


@dataclass
class Pairs(Group[tuple[int, Decimal]]):
    more: "list[Pairs]" = field(default_factory=list)


class Eater(rpc.Service):
    """Takes anything and gives it back."""

    @rpc.method
    def node(self, value: Node) -> Node:
        return value

    @rpc.method(inline=True)
    def table(self, value: dict[int, list[bytes]]) -> dict[int, list[bytes]]:
        return value

    @rpc.method
    def anything(self, value: Any) -> Any:
        return value

    @rpc.method
    def array(self, value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return value


TYPES: list[Any] = [
    *(Any, int, float, bytes, Node, datetime, Decimal, UUID, Fraction, Path, IPv6Network, complex),
    *(
        np.int8,
        np.complex128,
        npt.NDArray[np.float64],
        dict[float, int],
        dict[tuple[int, int], str],
    ),
    *(deque[Node], OrderedDict[int, deque[Path]], set[str | int], list[dict[str, Any]]),
    *(set[UUID], frozenset[frozenset[Decimal]], dict[Decimal, Any], dict[datetime, int], set),
    *(Group[UUID], Pairs, deque[Group[int]], OrderedDict[UUID, Any], set[np.int64], np.datetime64),
]


class Maker:
    """MessagePack and frames that are nearly right."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(str(seed))

    def value(self, depth: int = 0) -> bytes:
        makers = [self.atom, self.atom, self.odd]
        if depth < 5:
            makers += [self.items, self.map, self.record]
        return self.random.choice(makers)(depth)

    def atom(self, _: int) -> bytes:
        chosen: list[Any] = [
            None,
            True,
            self.random.random(),
            float("nan"),
            self.random.choice(EDGES),
        ]
        chosen += [self.random.choice(TEXTS), self.random.randbytes(self.random.randrange(40))]
        return raw.pack(self.random.choice(chosen))

    def odd(self, depth: int) -> bytes:
        """Bytes that no value is, or one that is deep, or says a wrong length."""
        return self.random.choice(
            [
                lambda: self.random.randbytes(self.random.randrange(1, 12)),
                lambda: b"\xa2\xe1\xff",
                lambda: self.random.choice([b"\x91", b"\x81\xc0"]) * self.random.randrange(5000),
                lambda: self.random.choice([b"\xdd", b"\xdf", b"\xc6"]) + self.random.randbytes(4),
                lambda: self.extension(self.random.choice([1, 1, 2, 3, 3, 4, 4, 255, 7])),
            ]
        )()

    def extension(self, code: int) -> bytes:
        kinds = ["<f8", "|i1", "<M8[s]", "|O8", "|V0", "<U999999"]
        sides = [self.random.choice([0, 1, 2, -1, 2**40]) for _ in range(self.random.randrange(4))]
        meta = [self.random.randrange(-1, 3), self.random.choice(kinds), sides]
        zone = self.random.choice([None, "Europe/Berlin", "../x", "UTC"])
        moment = [MARK, self.random.choice(["datetime", "time"]), "2026-10-25T02:30+02:00", zone]
        scalar = [self.random.choice(kinds), bytes(self.random.choice([0, 1, 8]))]
        chosen = {3: [*moment, self.random.randrange(3)], 4: scalar}.get(code, meta)
        data = raw.pack(self.random.choice([chosen, chosen, meta, 0, None]))
        return b"\xc7" + bytes([len(data), code]) + data

    def items(self, depth: int) -> bytes:
        if self.random.random() < 0.1:  # Members of a set that do, or some that do no harm.
            step = self.random.choice([1, 2**61 - 1])
            return raw.pack([str(UUID(int=number * step)) for number in range(1000)])
        count = self.random.randrange(6)
        return bytes([0x90 | count]) + b"".join(self.value(depth + 1) for _ in range(count))

    def map(self, depth: int) -> bytes:
        if self.random.random() < 0.1:  # Keys that look for their places in one order.
            step = self.random.choice([1, 2**20, 2**32, 2**61 - 1])
            text = self.random.choice([int, str])
            return raw.pack({text(number * step % 2**64): 0 for number in range(2000)})
        count = self.random.randrange(6)
        return bytes([0x80 | count]) + b"".join(self.value(depth + 1) for _ in range(2 * count))

    def record(self, depth: int) -> bytes:
        """A Node or a Group, whose fields may be anything."""
        known = self.random.choice(["name sides size more", "members named more"]).split()
        names = [name for name in known if self.random.random() < 0.9]
        fields = b"".join(raw.pack(name) + self.value(depth + 1) for name in names)
        return bytes([0x80 | len(names)]) + fields

    def body(self) -> tuple[int, bytes]:
        """Flags and a body: a value, or a value with segments."""
        text = raw.pack(self.random.choice(TEXTS))
        packed = text if self.random.random() < 0.2 else self.value()
        if self.random.random() < 0.7:
            return 0, packed
        parts = [packed, *[bytes(self.random.choice([0, 8, 16])) for _ in range(2)]]
        count = self.random.choice([len(parts)] * 5 + [0, 1 << 31])
        table = struct.pack(">I", count) + struct.pack(f">{len(parts)}Q", *map(len, parts))
        for part in parts:
            table += bytes(-len(table) % 16) + part
        return raw.SEGMENTS, table

    def frame(self) -> bytes:
        """A frame of any kind, mostly a call with one made-up argument."""
        flags, body = self.body()
        if flags == 0 and self.random.random() < 0.8:
            body = b"\x91" + body
        if self.random.random() < 0.1:
            flags ^= 1 << self.random.randrange(8)
        kind = raw.CALL if self.random.random() < 0.7 else self.random.randrange(18)
        return raw.frame(
            kind,
            self.random.choice([1, 2, 3, 2**64 - 1]),
            body,
            flags=flags,
            method=self.random.randrange(6),
            amount=self.random.choice([0, 1, 2**32 - 1]),
        )


def decode(maker: Maker) -> None:
    codec = Codec(maker.random.choice(TYPES))
    flags, body = maker.body()
    with suppress(wire.Malformed):
        codec.weigh(flags, body, VALUES_MAX)
        codec.decode(flags, body)


def ask(maker: Maker, server: rpc.Server) -> None:
    with RawClient(server.address) as client, suppress(ConnectionError):
        client.sock.sendall(b"".join(maker.frame() for _ in range(maker.random.randrange(1, 9))))
        client.sock.shutdown(1)
        read_to_end(client.sock)


def call(maker: Maker, address: Any, seconds: float) -> None:
    name = maker.random.choice(["node", "table", "anything", "array"])
    with suppress(rpc.RpcError), rpc.connect(Eater, address, timeout=seconds / 2) as stub:
        argument = {"node": Node("x", []), "table": {1: [b"x"]}, "array": np.ones(2)}
        getattr(stub, name)(argument.get(name))


def lie(maker: list[Maker]) -> Callable[[raw.Peer, int], None]:
    """A server that greets as it should, and then says what is made up."""
    interface = interface_of(Eater)
    infos = {
        name: [interface.number(name), each.digest, each.text]
        for name, each in interface.methods.items()
    }

    def script(peer: raw.Peer, _: int) -> None:
        peer.hear()
        peer.say(raw.server_hello(infos, service="Eater"))
        while (heard := peer.hear()) is not None and heard.kind == raw.CALL:
            flags, body = maker[-1].body()
            peer.say(raw.frame(maker[-1].random.choice([raw.REPLY] * 4 + [5, 6, 7, 8, 12]),
                               heard.call, body, flags=flags))  # fmt: skip
            peer.say(maker[-1].frame())

    return script


def inputs(seed: int) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{seed}.{number}"


def fuzz(
    seconds: float, seed: int, input_seconds: float = INPUT_SECONDS, count: int = 0, tell: int = -1
) -> int:
    """Makes inputs for so many seconds, or so many of them; returns how many. Writes the name of
    each into the descriptor ``tell``. AssertionError for a finding."""
    end, makers = time.monotonic() + seconds, [Maker(seed)]
    with rpc.serve(Eater(), session_seconds=0.01) as server, LyingServer(lie(makers)) as liar:
        for number, each in enumerate(inputs(seed)):
            if number == count > 0 or time.monotonic() > end:
                return number
            if tell >= 0:
                os.write(tell, f" {each} ".encode())
            took = tried(number, each, makers, server, liar, input_seconds)
            assert took < input_seconds, f"input {each} took {took:.1f} s; {shown(each)}"
    raise AssertionError("there is an input after each")


def tried(
    number: int,
    name: str,
    makers: list[Maker],
    server: rpc.Server,
    liar: LyingServer,
    input_seconds: float,
) -> float:
    """Tries an input; returns how many seconds the processors worked on it."""
    maker = makers[0] = Maker(name)
    begun = time.process_time()
    try:
        if number % 20 == 18:
            ask(maker, server)
        elif number % 20 == 19:
            call(maker, liar.address, input_seconds)
        else:
            decode(maker)
    except Exception as error:
        raise AssertionError(f"input {name}: {error!r}; {shown(name)}") from error
    return time.process_time() - begun


def shown(name: str) -> str:
    """What the input's maker says first, when it is asked for a body and for a frame."""
    maker = Maker(name)
    kind = maker.random.choice(TYPES)
    return f"as {kind}: {maker.body()!r:.400}; frame: {Maker(name).frame().hex()[:400]}"


def watched(seconds: float, seed: int) -> int:
    """Fuzzes in a child, which tells each input before it is tried; returns the exit status. An
    input that nothing interrupts is named, too."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        print(f"{fuzz(seconds, seed, tell=telling)} inputs, no finding")
        return 0
    os.close(telling)
    last = b""
    while select.select([told], [], [], SILENCE_SECONDS)[0]:
        heard = os.read(told, 1 << 16)
        if not heard:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        last = (last + heard).split()[-1]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(f"input {last.decode()} does not end; {shown(last.decode())}")
    return 1


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    chosen = given[1] if len(given) > 1 else random.randrange(1 << 32)
    print(f"seed {chosen}", flush=True)
    sys.exit(watched(given[0] if given else 60, chosen))
