"""A service whose methods use every kind of type that can be described and written down."""

import datetime
import enum
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple, NewType, Required, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from fastsock import rpc


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


UserId = NewType("UserId", int)


class Money(msgspec.Struct, frozen=True, tag="money", rename="camel"):
    """An amount."""

    amount_cents: int
    currency: Literal["EUR", "USD"] = "EUR"


@dataclass
class Item:
    """An "item",
    in two lines with a \\ and '''."""

    name: str
    uuid: uuid.UUID
    price: Money | None = None
    tags: list[str] = field(default_factory=list)
    color: Color = Color.RED


@dataclass
class Dated:
    when: datetime.datetime = datetime.datetime(2020, 1, 1)
    data: bytes | None = None


class Options(TypedDict, total=False):
    limit: int
    wanted: Required[list[Item]]


class Point(NamedTuple):
    x: float
    y: float = 0.0


ORIGIN = Point(0)


class Tree(msgspec.Struct):
    value: int
    children: "list[Tree]" = []


class Overdrawn(Exception):
    """Not enough."""


class Store(rpc.Service):
    """A store."""

    rpc_version = "2"

    @rpc.method
    def get(self, id: UserId, color: Color = Color.BLUE, *, level: Level = Level.LOW) -> Item:
        """An item of that number."""
        return Item("it", uuid.UUID(int=id), Money(level), color=color)

    @rpc.method(raises=[Overdrawn, KeyError], idempotent=True)
    def put(
        self, items: Sequence[Item], options: Options, /, at: Point = ORIGIN
    ) -> dict[int, tuple[Item, ...]]:
        if at.x < 0:
            raise Overdrawn(at.x)
        return {len(options["wanted"]): tuple(items)}

    @rpc.method(inline=True)
    def list(self, x: list[int]) -> "list[Color]":
        return [Color.RED for _ in x]

    @rpc.method
    def tree(self, tree: Tree, times: Annotated[int, msgspec.Meta(ge=1)] = 1) -> Iterator[Tree]:
        for _ in range(times):
            yield tree

    @rpc.method
    def mean(self, x: NDArray[np.float64], y: np.ndarray) -> Decimal:
        return Decimal(float(x.mean() + y.mean()))

    @rpc.method
    def double(self, x: np.ndarray) -> np.ndarray:
        return 2 * x

    @rpc.method(oneway=True)
    def log(self, rpc: str, data: bytes = b"x") -> None: ...

    @rpc.method
    def join(self, data: bytes, by: dict[int, bytes], more: Dated = Dated()) -> bytes:  # noqa: B008
        return data + b"".join(by[key] for key in sorted(by)) + (more.data or b"")

    @rpc.method
    def fail(self, text: str) -> None:
        raise ValueError(text)
