"""Where values of a type become members of sets and keys of dicts whose hashes a peer can choose.

The hashes of text, bytes, enums, dates, paths and addresses hold Python's secret, or are few. All
others can be chosen: numbers, UUIDs, Decimals, datetimes, networks, tuples and records of these.
"""

import ipaddress
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import inspect

from fastsock.rpc.values._values import Place, check_hashes
from fastsock.rpc.values.standard import PATHS
from fastsock.rpc.values.types_text import fields_of

__all__ = ["ANYTHING", "nodes_of", "place_of", "with_cheap_hashes"]

T = TypeVar("T")

UNCHECKED_BYTES = 512
"""So short a body cannot hold so many keys that a dict of them is slow."""

Reader: TypeAlias = Callable[[Any], Callable[[bytes], Any]]
"""Makes the decoder of a type."""

SECRET = (
    inspect.StrType,
    inspect.BytesType,
    inspect.NoneType,
    inspect.BoolType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.DateType,
)
SECRET_CLASSES = (*PATHS, ipaddress.IPv4Address, ipaddress.IPv6Address)

UNKNOWN = inspect.AnyType | inspect.CustomType
SETS = inspect.SetType | inspect.FrozenSetType
LISTS = inspect.ListType | inspect.VarTupleType
RECORDS = (
    inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType
)


def place_of(whole: Any, reader: Reader) -> Place | None:
    """The place of a value of the type; None if nothing in it is hashed so."""
    if not any(map(_may_hash, nodes_of(whole))):
        return None
    return _Places(reader).pruned([whole])


def nodes_of(whole: Any) -> Iterator[inspect.Type | inspect.Field]:
    """The types of which the type is made."""
    seen = set[int]()
    waiting: list[Any] = [inspect.type_info(whole)]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        for name in getattr(node, "__struct_fields__", ()):
            each = getattr(node, name)
            inside = each if isinstance(each, tuple) else (each,)
            waiting += [one for one in inside if isinstance(one, inspect.Type | inspect.Field)]


def _may_hash(node: Any) -> bool:
    if isinstance(node, inspect.DictType):
        return not isinstance(node.key_type, SECRET)
    return isinstance(node, SETS | UNKNOWN)


class _Places:
    """The places in one type. What may stand in a place is a union: of the types of all records
    that may stand around it, too."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.made: dict[frozenset[Any], Place] = {}
        self.fields: dict[Any, list[tuple[str, Any]]] = {}
        self.alive: list[Any] = []

    def pruned(self, hints: list[Any]) -> Place | None:
        """The place of any of these types, without those in which nothing is hashed."""
        first = self.place(hints)
        used, before = set[Place](), -1
        while before < len(used):
            before = len(used)
            for each in self.made.values():
                if each.read_items or each.read_keys or used.intersection(_inner(each)):
                    used.add(each)
        for each in used:
            each.items = each.items if each.items in used else None
            each.keys = each.keys if each.keys in used else None
            each.values = each.values if each.values in used else None
            each.fixed = each.fixed and [one if one in used else None for one in each.fixed]
            each.fields = each.fields and {
                name: one if one in used else None for name, one in each.fields.items()
            }
        return first if first in used else None

    def place(self, hints: list[Any]) -> Place:
        plain = [each for hint in hints for each in _members(hint)]
        key = frozenset(self._key(each) for each in plain)
        if key in self.made:
            return self.made[key]
        made = self.made[key] = Place()
        items, keys, values = list[Any](), list[Any](), list[Any]()
        fixed, fields = list[list[Any]](), dict[bytes, list[Any]]()
        for hint in plain:
            node, given = inspect.type_info(hint), typing.get_args(hint)
            origin = typing.get_origin(hint) or hint
            if isinstance(node, SETS):
                items += given or [Any]
                self._add_reader(made.read_items, (*given, Any)[0])
            elif isinstance(node, LISTS) or origin is deque:
                items += given[:1] or [Any]
            elif isinstance(node, inspect.TupleType):
                _add_fixed(fixed, list(given))
            elif isinstance(node, inspect.DictType) or origin is OrderedDict:
                self._add_reader(made.read_keys, (*given, Any)[0])
                keys += given[:1]
                values += given[1:] or [Any]
            elif isinstance(node, RECORDS):
                self._add_record(node, origin, given, fixed, fields)
            if isinstance(node, UNKNOWN):
                items.append(Any)
                values.append(Any)
                made.skip_text = not made.read_keys
                self._add_reader(made.read_keys, Any)
        made.items = self.place(items) if items else None
        made.keys = self.place(keys) if keys else None
        made.values = self.place(values) if values else None
        made.fixed = [self.place([*each, *items]) for each in fixed] or None
        made.fields = {name: self.place([*each, *values]) for name, each in fields.items()} or None
        return made

    def _key(self, hint: Any) -> Any:
        try:
            hash(hint)
        except TypeError:  # It has notes that cannot be hashed.
            self.alive.append(hint)
            return id(hint)
        return hint

    def _add_reader(self, readers: list[Any], key: Any) -> None:
        """Adds the decoder of a map of such keys, if anybody can choose their hashes."""
        if not all(_has_secret(each) for each in _members(key)):
            readers.append(self.reader(dict[key, None]))

    def _add_record(
        self,
        node: Any,
        record: Any,
        given: tuple[Any, ...],
        fixed: list[list[Any]],
        fields: dict[bytes, list[Any]],
    ) -> None:
        key = self._key((record, given))
        if key not in self.fields:
            hints = fields_of(record, given)
            self.fields[key] = [(each.encode_name, hints[each.name]) for each in node.fields]
        found = self.fields[key]
        if isinstance(node, inspect.NamedTupleType) or getattr(node, "array_like", False):
            tag: list[Any] = [[]] if getattr(node, "tag", None) is not None else []
            _add_fixed(fixed, [*tag, *(hint for _, hint in found)])
            return
        for name, hint in found:
            fields.setdefault(msgspec.msgpack.encode(name), []).append(hint)


def _add_fixed(fixed: list[list[Any]], hints: list[Any]) -> None:
    for number, hint in enumerate(hints):
        if number == len(fixed):
            fixed.append([])
        fixed[number] += hint if isinstance(hint, list) else [hint]


def _inner(place: Place) -> Iterator[Place]:
    for each in (
        place.items,
        place.keys,
        place.values,
        *(place.fixed or ()),
        *(place.fields or {}).values(),
    ):
        if each is not None:
            yield each


def _members(hint: Any) -> Iterator[Any]:
    """The types of which a union is made, without notes and names."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__supertype__") or hasattr(hint, "__value__"):
            hint = getattr(hint, "__supertype__", None) or hint.__value__
        elif typing.get_origin(hint) in (typing.Required, typing.NotRequired):
            hint = typing.get_args(hint)[0]
        else:
            break
    if isinstance(hint, typing.TypeVar):
        yield from _members(hint.__bound__ or Any)
    elif isinstance(inspect.type_info(hint), inspect.UnionType):
        for each in typing.get_args(hint):
            yield from _members(each)
    else:
        yield hint


def _has_secret(hint: Any) -> bool:
    return isinstance(inspect.type_info(hint), SECRET) or hint in SECRET_CLASSES


def with_cheap_hashes(decode: Callable[[Any], T], place: Place | None) -> Callable[[Any], T]:
    """``decode`` of a value of that place, which refuses sets and maps whose members and keys are
    chosen so that a set or a dict of them is slow."""
    if place is None:
        return decode

    def decode_cheap_hashes(data: Any) -> T:
        if len(data) > UNCHECKED_BYTES:
            check_hashes(data, place)
        return decode(data)

    return decode_cheap_hashes


ANYTHING = place_of(Any, lambda kind: msgspec.msgpack.Decoder(kind).decode)
"""The place of a value of any type."""
