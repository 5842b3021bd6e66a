"""What it costs to decode a body, told before it is done: in time, and in memory.

The unit is a number, which takes about 25 ns and up to 40 bytes. What takes longer weighs more.
Bytes of a peer become far larger values: a map is one byte, and a record with defaults has them
even where the peer names none of its fields.
"""

from collections.abc import Callable, Set as AbstractSet
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar, get_origin
from uuid import UUID

import msgspec
from msgspec import inspect

from fastsock.rpc.values._values import weigh
from fastsock.rpc.values.types_text import fields_of, parts_of

__all__ = [
    "PLAIN",
    "UNWEIGHED_BYTES",
    "VALUES_MAX",
    "VALUE_BYTES",
    "TooMany",
    "Weights",
    "light",
    "weights_of",
]

T = TypeVar("T")

VALUES_MAX = 1 << 20
"""By default. Lists, maps and texts count more than once, see :class:`Weights`."""

VALUE_BYTES = 40
"""What a value of weight one takes at most. Text takes up to four times its length beside."""

UNWEIGHED_BYTES = 256
"""So short a body is not weighed."""

SET = 32
DEFAULT = 2
MADE_DEFAULT = 32
DECIMAL = 5
LONG_TEXT = 16


class TooMany(ValueError):
    """Decoding a body would take too long."""


class Weights(NamedTuple):
    """How much a list and a map weigh, without what is in them, and a text; one of 32 bytes or more
    weighs ``long_text`` beside, and each 64 bytes 1. Bytes weigh 2, and 1 for each KiB; extensions
    8."""

    array: int = 8
    map: int = 8
    text: int = 2
    long_text: int = 0

    def of(self, packed: bytes | memoryview, values_max: int, limit: str = "values_max") -> int:
        """The weight of what is packed, 0 for little. TooMany, with the limit's name, if it is more
        than that."""
        if len(packed) <= UNWEIGHED_BYTES:
            return 0
        weight = weigh(packed, values_max, *self)
        if weight > values_max:
            raise TooMany(f"more than {values_max} values, which {limit} is")
        return weight


PLAIN = Weights()


def weights_of(whole: Any) -> Weights:
    """Those in a body of this type."""
    array, map_, text, long_text = PLAIN
    for part in parts_of(whole):
        kind = get_origin(part) or part
        if kind is UUID:
            long_text = LONG_TEXT
        elif kind is Decimal:
            text = DECIMAL
        elif isinstance(kind, type) and issubclass(kind, AbstractSet):
            array = max(array, SET)
        elif isinstance(kind, type) and fields_of(kind):
            node: Any = inspect.type_info(part)
            record = PLAIN.map + sum(_default_weight(each) for each in node.fields)
            array = max(array, record) if issubclass(kind, msgspec.Struct) else array
            map_ = max(map_, record)
    return Weights(array, map_, text, long_text)


def _default_weight(field: Any) -> int:
    if field.default_factory is not msgspec.NODEFAULT:
        return MADE_DEFAULT
    return 0 if field.default is msgspec.NODEFAULT else DEFAULT


def light(decode: Callable[[Any], T], weights: Weights) -> Callable[[Any], T]:
    """``decode``, which refuses bodies that weigh more than VALUES_MAX. One frame of plain values
    does not."""
    if weights == PLAIN:
        return decode

    def decode_light(data: Any) -> T:
        weights.of(data, VALUES_MAX)
        return decode(data)

    return decode_light
