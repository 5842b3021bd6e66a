"""Types as text: for people, and for the digests by which two sides compare them."""

import ast
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = ["OWN", "default_text", "fields_of", "form_of", "parts_of", "spell"]

OWN = "..."
"""The default that only the program itself can name."""

DEFAULT_CHARACTERS_MAX = 200
LITERALS = (types.NoneType, bool, int, float, str, bytes, list, tuple, dict)


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
        return _spell_annotated(arguments, seen)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_spell(each, seen) for each in arguments)
    if _name(origin) == "ndarray":
        return _spell_array(arguments, seen)
    if origin is tuple and not arguments:
        return "tuple[()]"
    if origin is not None:
        spelled = f"{_name(origin)}[{', '.join(_spell(each, seen) for each in arguments)}]"
        return spelled + (_inside(origin, seen) if seen is not None else "")
    return _name(type) + (_inside(type, seen) if seen is not None else "")


def _spell_annotated(arguments: tuple[Any, ...], seen: set[Any] | None) -> str:
    """Only what msgspec enforces counts; other metadata may look different in each run."""
    enforced = [repr(each) for each in arguments[1:] if isinstance(each, msgspec.Meta)]
    plain = _spell(arguments[0], seen)
    return f"Annotated[{plain}, {', '.join(enforced)}]" if enforced else plain


def _spell_array(arguments: tuple[Any, ...], seen: set[Any] | None) -> str:
    """NDArray[float64], whose parameters are other ones in each version of numpy."""
    scalar = (*typing.get_args(arguments[1]), typing.Any)[0]
    return f"NDArray[{_spell(scalar, seen)}]"


def _name(type: Any) -> str:
    """As in the program; without the classes and functions around it, which another program that
    has the same type need not have."""
    return str(type.__name__ if hasattr(type, "__name__") else type).removeprefix("typing.")


def _inside(type: Any, seen: set[Any]) -> str:
    """What a record or an enum holds, in braces; nothing for other types."""
    if not isinstance(type, _CLASS) or type in seen:
        return ""
    seen.add(type)
    if issubclass(type, enum.Enum):
        return "{" + ", ".join(f"{each.name}={each.value!r}" for each in type) + "}"
    fields = fields_of(type)
    if not fields:
        return ""
    spelled = [f"{name}: {_spell(each, seen)}" for name, each in fields.items()]
    return "{" + ", ".join(spelled + form_of(type)) + "}"


_CLASS = type


def fields_of(record: type, arguments: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass, Struct, TypedDict or NamedTuple, with their types; {} of another
    class. Those that a TypedDict may lack are NotRequired. ``arguments`` are those of a generic
    one."""
    if not _is_record(record):
        return {}
    hints = _hints_of(record, arguments)
    if dataclasses.is_dataclass(record):
        return {each.name: hints[each.name] for each in dataclasses.fields(record)}
    if issubclass(record, msgspec.Struct):
        return {name: hints[name] for name in record.__struct_fields__}
    if not typing.is_typeddict(record):
        return hints
    optional: frozenset[str] = getattr(record, "__optional_keys__", frozenset())
    return {name: _marked(each, name in optional) for name, each in hints.items()}


def _is_record(record: type) -> bool:
    return (
        typing.is_typeddict(record)
        or hasattr(record, "__dataclass_fields__")
        or issubclass(record, msgspec.Struct)
        or (issubclass(record, tuple) and hasattr(record, "_fields"))
    )


def _hints_of(record: type, arguments: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The annotations of a record and of those that it derives from. A type parameter is what a
    class that derives from ``Page[int]`` binds it to: each class has parameters of its own."""
    hints = typing.get_type_hints(record, include_extras=True)
    own = () if typing.is_typeddict(record) else vars(record).get("__annotations__", ())
    for base in reversed(vars(record).get("__orig_bases__", record.__bases__)):
        origin = typing.get_origin(base) or base
        if isinstance(origin, _CLASS) and _is_record(origin):
            inherited = _hints_of(origin, typing.get_args(base))
            hints |= {name: each for name, each in inherited.items() if name not in own}
    parameters: tuple[Any, ...] = getattr(record, "__parameters__", ())
    bound = dict(zip(parameters, arguments, strict=False))
    return {name: _bound(hint, bound) for name, hint in hints.items()}


def _bound(hint: Any, bound: dict[Any, Any]) -> Any:
    """The type with those in the place of its parameters."""
    if isinstance(hint, typing.TypeVar):
        return bound.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, _CLASS) or not bound.keys() & set(parameters):
        return hint
    return hint[tuple(bound.get(each, each) for each in parameters)]


def _marked(hint: Any, optional: bool) -> Any:
    """The type of an entry, with NotRequired around it and nothing else. What stands there counts
    more than ``optional``, which does not know of annotations that are strings."""
    mark = typing.get_origin(hint)
    if mark in (typing.Required, typing.NotRequired):
        (hint,), optional = typing.get_args(hint), mark is typing.NotRequired
    return typing.NotRequired[hint] if optional else hint


def parts_of(whole: Any, found: set[Any] | None = None) -> Iterator[Any]:
    """The type and all those within: arguments of generics, types of fields, each once. What
    stands inside NDArray or in a list of parameters is left out."""
    found = set() if found is None else found
    origin = typing.get_origin(whole)
    if origin is typing.Annotated:  # Before it is hashed, which its notes need not allow.
        yield from parts_of(typing.get_args(whole)[0], found)
        return
    if whole in found or origin in (typing.Literal, typing.ClassVar):
        return
    found.add(whole)
    if hasattr(whole, "__supertype__") or hasattr(whole, "__value__"):
        yield from parts_of(getattr(whole, "__supertype__", None) or whole.__value__, found)
        return
    yield whole
    for each in () if _name(origin) == "ndarray" else typing.get_args(whole):
        if each is not Ellipsis and not isinstance(each, list):
            yield from parts_of(each, found)
    record = origin or whole
    if isinstance(record, _CLASS):
        for each in fields_of(record).values():
            yield from parts_of(each, found)


def form_of(record: type) -> list[str]:
    """How a Struct is encoded, where that is not as a map of its fields under their names."""
    if not issubclass(record, msgspec.Struct):
        return []
    config, form = record.__struct_config__, []
    if config.array_like:
        form.append("array_like=True")
    if config.tag is not None:
        form += [f"tag_field={config.tag_field!r}", f"tag={config.tag!r}"]
    renamed = {
        each.name: each.encode_name
        for each in msgspec.structs.fields(record)
        if each.name != each.encode_name
    }
    return [*form, f"rename={renamed!r}"] if renamed else form


def default_text(value: Any) -> str:
    """The expression of a default: a literal, or a member of an enum; "" if there is none."""
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, enum.Enum) and value.name in type(value).__members__:
        return f"{type(value).__name__}.{value.name}"
    text = repr(value)
    if not isinstance(value, LITERALS) or len(text) > DEFAULT_CHARACTERS_MAX:
        return OWN
    try:
        return text if ast.literal_eval(text) == value else OWN
    except (ValueError, SyntaxError):
        return OWN
