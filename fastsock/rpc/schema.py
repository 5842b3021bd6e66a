"""Types as text: for people, and for the digests by which two sides compare them."""

import enum
import types
import typing
from typing import Any

import msgspec

__all__ = ["spell"]


def spell(type: Any, *, deep: bool = False) -> str:
    """The type as it stands in a program: ``list[int] | None``. With ``deep`` the fields of
    records and the values of enums are spelled out, each at its first place."""
    return _spell(type, set() if deep else None)


def _spell(type: Any, seen: set[Any] | None) -> str:
    if type is None or type is types.NoneType:
        return "None"
    if type is Ellipsis:
        return "..."
    if isinstance(type, list):
        return f"[{', '.join(_spell(each, seen) for each in type)}]"
    origin, arguments = typing.get_origin(type), typing.get_args(type)
    if origin is typing.Annotated:
        return _spell(arguments[0], seen) + "".join(f" @{each!r}" for each in arguments[1:])
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_spell(each, seen) for each in arguments)
    if origin is not None:
        return f"{_name(origin)}[{', '.join(_spell(each, seen) for each in arguments)}]"
    return _name(type) + (_inside(type, seen) if seen is not None else "")


def _name(type: Any) -> str:
    if type.__class__ is typing.NewType or hasattr(type, "__qualname__"):
        return str(getattr(type, "__qualname__", type.__name__))
    return str(type).removeprefix("typing.")


def _inside(type: Any, seen: set[Any]) -> str:
    """What a record or an enum holds, in braces; nothing for other types."""
    if not isinstance(type, _CLASS) or type in seen:
        return ""
    seen.add(type)
    if issubclass(type, enum.Enum):
        return "{" + ", ".join(f"{each.name}={each.value!r}" for each in type) + "}"
    fields = _fields(type)
    if not fields:
        return ""
    return "{" + ", ".join(f"{name}: {_spell(each, seen)}" for name, each in fields.items()) + "}"


_CLASS = type


def _fields(record: type) -> dict[str, Any]:
    """The fields of a dataclass, Struct, TypedDict or NamedTuple, with their types."""
    is_record = (
        hasattr(record, "__dataclass_fields__")
        or issubclass(record, msgspec.Struct)
        or typing.is_typeddict(record)
        or (issubclass(record, tuple) and hasattr(record, "_fields"))
    )
    return typing.get_type_hints(record, include_extras=True) if is_record else {}
