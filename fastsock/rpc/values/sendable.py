"""Which types can be sent at all: told where a method is declared, before anybody calls it."""

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from fastsock.rpc.values.marshal import DTYPES
from fastsock.rpc.values.standard import READERS
from fastsock.rpc.values.types_text import fields_of, parts_of, spell

__all__ = ["check_sendable"]

PLAIN = (type(None), bool, int, float, str, bytes, list, dict)
"""What is read where any value is taken. A class that one of them belongs to, as object, can be
sent."""


def check_sendable(whole: Any) -> None:
    """TypeError if no value of the type can be sent, because of the type or one within it."""
    for part in parts_of(whole):
        for reason in _reasons(part):
            raise TypeError(f"{spell(part)} cannot be sent; {reason}")


def _reasons(part: Any) -> Iterator[str]:
    kind = typing.get_origin(part) or part
    if not isinstance(kind, type) or issubclass(kind, enum.Enum | types.UnionType):
        return
    if dataclasses.is_dataclass(kind):
        yield from _of_fields(kind)
        return
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind is numpy.ndarray:
        yield from _of_array(numpy, part)
    elif numpy is not None and issubclass(kind, numpy.generic):
        yield from _of_scalar(numpy, kind)
    elif not fields_of(kind) and _is_unknown(kind):
        if issubclass(kind, dict):
            yield "annotate dict"
        else:
            yield "use a dataclass, a msgspec.Struct or another type that docs/guide/rpc.md lists"


def _is_unknown(kind: type) -> bool:
    if kind in READERS or not isinstance(msgspec.inspect.type_info(kind), _CUSTOM):
        return False
    try:
        return not any(issubclass(plain, kind) for plain in PLAIN)
    except TypeError:  # A protocol that cannot be asked.
        return True


_CUSTOM = msgspec.inspect.CustomType


def _of_fields(record: type) -> Iterator[str]:
    """A field that no constructor sets is not there to be sent."""
    if hasattr(record, "__post_init__"):
        return
    for each in dataclasses.fields(record):
        unset = each.default is each.default_factory is dataclasses.MISSING
        if not each.init and unset:
            yield f"nothing sets its field {each.name!r}: init=False needs a default"


def _of_array(numpy: Any, part: Any) -> Iterator[str]:
    dtypes = typing.get_args((*typing.get_args(part), None, None)[1])
    scalar = typing.get_origin(dtypes[0]) or dtypes[0] if dtypes else None
    concrete = isinstance(scalar, type) and _is_concrete(numpy, scalar)
    if concrete and scalar in (numpy.longdouble, numpy.clongdouble):
        yield "machines differ in the size of its items; use numpy.float64 or numpy.complex128"
    elif concrete and numpy.dtype(scalar).kind not in DTYPES:
        yield "its items are not plain numbers"


def _of_scalar(numpy: Any, kind: type) -> Iterator[str]:
    if not _is_concrete(numpy, kind):
        yield "it is abstract; name a type that has values, as numpy.int64"
    elif kind in (numpy.longdouble, numpy.clongdouble):
        yield "machines differ in its size; use numpy.float64 or numpy.complex128"
    elif numpy.dtype(kind).kind not in DTYPES:
        yield "it is not a plain number"


def _is_concrete(numpy: Any, kind: type) -> bool:
    return kind in numpy.sctypeDict.values()
