"""fastsock.rpc: records that derive from a generic one with its parameter bound: their fields count
when two sides compare their methods, and they arrive."""

from dataclasses import dataclass, make_dataclass
from types import new_class
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from conftest import WAIT

from fastsock import rpc
from fastsock.rpc.values.types_text import fields_of

pytest_plugins = ("rpc_fixtures",)

Item = TypeVar("Item")
Other = TypeVar("Other")


@dataclass
class Page(Generic[Item]):
    items: list[Item]


@dataclass
class Numbers(Page[int]):
    note: str = ""


@dataclass
class Pairs(Page[tuple[int, Item]], Generic[Item]):
    """Has a parameter of its own under the name of the inherited one."""

    best: Item | None = None


@dataclass
class Named(Pairs[str]):
    pass


class Box(msgspec.Struct, Generic[Item, Other]):
    item: Item
    others: dict[str, Other]


class IntBox(Box[int, float], tag=True):
    size: int = 0


class Range(NamedTuple, Generic[Item]):
    low: Item
    high: Item


class IntRange(Range[int]):
    pass


class Row(TypedDict, Generic[Item]):
    key: Item


class IntRow(Row[int]):
    count: int


FIELDS = [
    (Numbers, {"items": list[int], "note": str}),
    (Pairs, {"items": list[tuple[int, Item]], "best": Item | None}),
    (Named, {"items": list[tuple[int, str]], "best": str | None}),
    (IntBox, {"item": int, "others": dict[str, float], "size": int}),
    (IntRange, {"low": int, "high": int}),
    (IntRow, {"key": int, "count": int}),
]


@pytest.mark.parametrize("record, fields", FIELDS, ids=lambda each: getattr(each, "__name__", ""))
def test_inherited_fields_have_the_types_that_they_are_bound_to(record, fields):
    assert fields_of(record) == fields


def service_of(annotation: Any) -> type[rpc.Service]:
    class Pages(rpc.Service):
        @rpc.method
        def get(self, page: Any) -> Any:
            return page

    Pages.get.function.__annotations__.update({"page": annotation, "return": annotation})
    return Pages


VALUES = [
    Numbers([1, 2], "x"),
    Named([(1, "a")], "b"),
    IntBox(1, {"a": 0.5}, 3),
    IntRange(1, 2),
    IntRow(key=1, count=2),
    Page([1]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda each: type(each).__name__)
def test_such_records_arrive(start, value):
    annotation: Any = {Page: Page[int], dict: IntRow}.get(type(value), type(value))
    pages = service_of(annotation)
    server = start(pages())
    with rpc.connect(pages, server.address, timeout=WAIT) as stub:
        got = stub.get(value)
        assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    "value", [Numbers(["x"]), Named([("x", 1)]), IntBox("x", {}), IntRange("x", 2)], ids=type
)
def test_what_they_are_bound_to_is_enforced(start, value):
    pages = service_of(type(value))
    server = start(pages())
    with (
        rpc.connect(pages, server.address, timeout=WAIT) as stub,
        pytest.raises(rpc.WrongArguments, match="Expected `int`, got `str`"),
    ):
        stub.get(value)


def bound_to(kind: str, item: Any) -> Any:
    """A record under one name, whose inherited fields are of that type."""
    base: Any = {"dataclass": Page, "Struct": Box, "NamedTuple": Range, "TypedDict": Row}[kind]
    given = (item, item) if kind == "Struct" else item
    if kind == "dataclass":
        return make_dataclass("Sub", [("more", int, 0)], bases=(base[given],))
    return new_class("Sub", (base[given],))


@pytest.mark.parametrize("kind", ["dataclass", "Struct", "NamedTuple", "TypedDict"])
def test_what_they_are_bound_to_is_compared(start, kind):
    server = start(service_of(bound_to(kind, int))())
    with rpc.connect(service_of(bound_to(kind, int)), server.address, timeout=WAIT):
        pass
    with pytest.raises(rpc.InterfaceMismatch, match="other fields"):
        rpc.connect(service_of(bound_to(kind, str)), server.address, timeout=WAIT)


def test_a_field_that_cannot_be_sent_is_found_behind_a_parameter():
    with pytest.raises(TypeError, match="Plain cannot be sent"):
        rpc.serve(service_of(make_dataclass("Sub", [], bases=(Page[Plain],)))(), ("127.0.0.1", 0))


class Plain:
    pass
