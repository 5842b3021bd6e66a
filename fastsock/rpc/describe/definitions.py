"""What a server tells of its interface, so that another program can call it, or write it down.

Types are texts as types_text.py spells them. A client cannot trust these records: see
annotations.py for how the texts are read.
"""

import builtins
import dataclasses
import enum
import inspect
import typing
from collections.abc import Iterator
from inspect import Parameter
from typing import Any

import msgspec

from fastsock.rpc.signature import Interface, Signature
from fastsock.rpc.values.types_text import OWN, default_text, fields_of, form_of, spell

__all__ = ["Description", "Field", "MethodDescription", "TypeDescription", "describe"]

ENUMS = (enum.IntFlag, enum.Flag, enum.StrEnum, enum.IntEnum, enum.Enum)


class Field(msgspec.Struct):
    """A parameter of a method, a field of a record, or a member of an enum. ``default`` is an
    expression, "" if there is none; that of a member is its value. ``kind`` is "keyword" or
    "positional" where the parameter is nothing else."""

    name: str
    type: str
    default: str = ""
    kind: str = ""


class TypeDescription(msgspec.Struct):
    """A type that signatures use. ``kind`` is "dataclass", "Struct", "TypedDict", "NamedTuple",
    "NewType" (its one field has the type), "exception", or the kind of an enum. ``options`` are
    arguments of its class, such as ``array_like=True``."""

    name: str
    kind: str
    doc: str
    fields: list[Field]
    options: list[str]


class MethodDescription(msgspec.Struct):
    """A method, as people and programs need to know it."""

    name: str
    signature: str
    doc: str
    parameters: list[Field]
    result: str
    raises: list[str]
    stream: bool
    oneway: bool
    idempotent: bool
    digest: str


class Description(msgspec.Struct):
    """A service with all its methods and the types that they use, each after those it uses."""

    service: str
    version: str
    doc: str
    methods: list[MethodDescription]
    types: list[TypeDescription]


def describe(interface: Interface) -> Description:
    """All that is told of an interface."""
    found: dict[Any, TypeDescription] = {}
    for signature in interface.methods.values():
        for used in (*signature.types.values(), signature.result):
            _collect(used, found)
        for error in signature.options.raises:
            if error.__module__ != builtins.__name__:
                doc = inspect.cleandoc(error.__doc__ or "")
                found[error] = TypeDescription(error.__name__, "exception", doc, [], [])
    methods = [_describe_method(signature) for signature in interface.methods.values()]
    described = [each for each in found.values() if each.kind]
    return Description(interface.name, interface.version, interface.doc, methods, described)


def _describe_method(signature: Signature) -> MethodDescription:
    return MethodDescription(
        signature.name,
        signature.text,
        signature.doc,
        [
            Field(name, spell(signature.types[name]), default_text(each.default), _kind(each))
            for name, each in signature.parameters.parameters.items()
        ],
        spell(signature.result),
        [error.__name__ for error in signature.options.raises],
        signature.stream,
        signature.options.oneway,
        signature.options.idempotent,
        signature.digest,
    )


def _kind(parameter: Parameter) -> str:
    if parameter.kind is Parameter.KEYWORD_ONLY:
        return "keyword"
    return "positional" if parameter.kind is Parameter.POSITIONAL_ONLY else ""


def _collect(used: Any, found: dict[Any, TypeDescription]) -> None:
    """Adds the description of a type, and before it those of the types within."""
    if typing.get_origin(used) is typing.Literal:
        return
    for argument in typing.get_args(used):
        _collect(argument, found)
    origin = typing.get_origin(used) or used
    if not isinstance(origin, type | typing.NewType) or origin in found:
        return
    found[origin] = TypeDescription(origin.__name__, "", "", [], [])
    if isinstance(origin, typing.NewType):
        _collect(origin.__supertype__, found)
        fields = [Field("", spell(origin.__supertype__))]
        described = TypeDescription(str(origin.__name__), "NewType", "", fields, [])
    elif issubclass(origin, enum.Enum):
        described = _describe_enum(origin)
    elif fields_of(origin):
        for hint in fields_of(origin).values():
            _collect(hint, found)
        described = _describe_record(origin)
    else:
        return
    del found[origin]  # So that it comes after those within.
    found[origin] = described


def _describe_enum(kind: type[enum.Enum]) -> TypeDescription:
    members = [Field(each.name, "", repr(each.value)) for each in kind]
    base = next(base for base in ENUMS if issubclass(kind, base))
    return TypeDescription(kind.__name__, base.__name__, _doc(kind), members, [])


def _describe_record(record: type) -> TypeDescription:
    defaults = dict(_defaults(record))
    fields = [
        Field(name, spell(hint), defaults.get(name, "")) for name, hint in fields_of(record).items()
    ]
    kind, options = _kind_of(record), form_of(record)
    if kind == "Struct":
        config = record.__struct_config__  # type: ignore[attr-defined]
        options += ["frozen=True"] if config.frozen else []
    elif kind == "dataclass":
        config = record.__dataclass_params__  # type: ignore[attr-defined]
        options += ["frozen=True"] if config.frozen else []
    return TypeDescription(record.__name__, kind, _doc(record), fields, options)


def _kind_of(record: type) -> str:
    if issubclass(record, msgspec.Struct):
        return "Struct"
    if dataclasses.is_dataclass(record):
        return "dataclass"
    return "TypedDict" if typing.is_typeddict(record) else "NamedTuple"


def _doc(described: type) -> str:
    """The docstring, where it was written and not made up."""
    doc = described.__doc__ or ""
    made_up = doc.startswith(f"{described.__name__}(") or doc == enum.Enum.__doc__
    return "" if made_up else inspect.cleandoc(doc)


def _defaults(record: type) -> Iterator[tuple[str, str]]:
    """The fields that have defaults, with those."""
    if issubclass(record, msgspec.Struct):
        for field in msgspec.structs.fields(record):
            yield field.name, _default_of(field, msgspec.NODEFAULT)
    elif dataclasses.is_dataclass(record):
        for each in dataclasses.fields(record):
            yield each.name, _default_of(each, dataclasses.MISSING)
    else:
        for name, value in getattr(record, "_field_defaults", {}).items():
            yield name, default_text(value)


def _default_of(field: Any, missing: object) -> str:
    if field.default_factory is missing:
        return "" if field.default is missing else default_text(field.default)
    factory = field.default_factory
    return default_text(factory()) if factory in (list, dict) else OWN
