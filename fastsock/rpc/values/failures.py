"""Exceptions as values: what a method has raised, as MessagePack, and an exception made of that.

A value that MessagePack lacks is an array that begins with the name of its type; so is each list.
An exception is [module, name, text, arguments, attributes, notes, causes]; its arguments are None
if only its text arrives. Only classes that the method declares, those of Python's own that derive
from them, and, within a group, Python's own are made again; no constructor of a peer's choice runs.
"""

import builtins
import datetime
import enum
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

import msgspec

from fastsock.rpc import wire
from fastsock.rpc.errors import CODE_OF, RemoteError, RpcError
from fastsock.rpc.values._values import check_keys
from fastsock.rpc.values.hashes import ANYTHING, with_cheap_hashes
from fastsock.rpc.values.moments import form_of, made_of
from fastsock.rpc.values.weights import PLAIN as PLAIN_WEIGHTS

__all__ = ["clean", "failure_of", "pack", "read_failure", "unpack"]

FAILURE_VALUES_MAX = 1 << 18
"""What the values of an exception may weigh: about 10,000 of them can be sent."""

DEPTH_MAX = 32
ITEMS_MAX = 10_000
NOTES_MAX = 64
CAUSES_MAX = 8

Classes: TypeAlias = tuple[type[Exception], ...]

PLAIN = (type(None), bool, float, bytes)
BY_TEXT: tuple[type, ...] = (Decimal, uuid.UUID, pathlib.PosixPath, pathlib.PurePosixPath)
OWN_FORMS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")


def clean(text: str, length_max: int = 4096) -> str:
    """Text that UTF-8 can hold, and not too much of it."""
    return text[:length_max].encode(errors="replace").decode()


def failure_of(error: RpcError) -> bytes:
    """The body of an ERROR or REFUSED frame that stands for an error of this package."""
    return wire.encode(wire.Failure(CODE_OF[type(error)], "", clean(str(error))))


_read_failure = with_cheap_hashes(msgspec.msgpack.Decoder(wire.Failure).decode, ANYTHING)


@wire.checked
def read_failure(data: bytes | memoryview) -> wire.Failure:
    """Return what an ERROR or REFUSED frame says. Malformed if it cannot be read."""
    PLAIN_WEIGHTS.of(data, FAILURE_VALUES_MAX, "FAILURE_VALUES_MAX")
    return _read_failure(data)


# ---- Packing ----


def pack(error: BaseException, declared: Classes) -> list[Any]:
    """The exception as MessagePack can hold it: as text, with the reason as a note, if it is not
    declared, or if it holds what cannot be sent."""
    return _Packer(declared).error(error, isinstance(error, declared), 0)


class _Packer:
    """Packs one exception, and counts what is in it."""

    def __init__(self, declared: Classes) -> None:
        self.declared = declared
        self.left = ITEMS_MAX

    def error(self, error: BaseException, whole: bool, depth: int) -> list[Any]:
        notes = [clean(each) for each in getattr(error, "__notes__", ()) if isinstance(each, str)]
        del notes[NOTES_MAX:]
        kind = _sent_class(error, self.declared) if whole else type(error)
        arguments, attributes = None, None
        if whole:
            try:
                given, state = _parts(error, kind)
                arguments = [self.value(each, depth + 1) for each in given]
                attributes = self.pairs(state, depth + 1)
                if kind is not type(error):
                    notes.append(f"at the server it was a {type(error).__qualname__}")
            except Exception as failed:
                arguments, kind = None, type(error)
                notes.append(clean(f"it did not arrive as itself: {failed}"))
        elif isinstance(error, BaseExceptionGroup):
            notes += [f"one of them: {_named(each)}" for each in error.exceptions[:NOTES_MAX]]
        causes = [[clean(type(each).__qualname__), _text(each)] for each in _causes(error)]
        names = [clean(kind.__module__), clean(kind.__qualname__)]
        return [*names, _text(error), arguments, attributes, notes, causes]

    def value(self, value: Any, depth: int) -> Any:
        """One value; TypeError or ValueError if it cannot be sent."""
        self.left -= 1
        if self.left < 0 or depth > DEPTH_MAX:
            raise ValueError(f"it holds more than {ITEMS_MAX} values, or is nested too deep")
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 64 else ["int", hex(value)]
        if kind is str:
            return value if _is_utf8(value) else ["str", value.encode("utf-8", "surrogatepass")]
        if kind is dict:
            return ["dict", *self.pairs(value, depth)]
        if kind in (list, tuple, set, frozenset):
            return [kind.__name__, *(self.value(each, depth + 1) for each in value)]
        if kind in BY_TEXT:
            return [kind.__name__, str(value)]
        if isinstance(value, enum.Enum) and value.name in kind.__members__:
            return ["Enum", kind.__module__, kind.__qualname__, value.name]
        if isinstance(value, Exception):
            known = isinstance(value, self.declared) or _is_builtin(kind)
            return ["Exception", *self.error(value, known, depth)]
        if kind in _FORMS:
            return [kind.__name__, *_FORMS[kind](value)]
        raise TypeError(f"a {kind.__qualname__} cannot be sent in an exception")

    def pairs(self, values: dict[Any, Any], depth: int) -> list[Any]:
        return [self.value(each, depth + 1) for pair in values.items() for each in pair]


def _sent_class(error: BaseException, declared: Classes) -> type:
    """The class that the caller knows, the nearest to that of the error."""
    for kind in type(error).__mro__:
        if kind in declared or (_is_builtin(kind) and issubclass(kind, declared)):
            return kind
    return type(error)


def _parts(error: BaseException, kind: type) -> tuple[tuple[Any, ...], dict[Any, Any]]:
    """The arguments and attributes of which an equal exception can be made."""
    if kind is not type(error) and _has_own_form(type(error)):
        given, state = error.args, vars(error)
    else:
        reduced = error.__reduce_ex__(4)
        if not isinstance(reduced, tuple) or reduced[0] is not type(error) or len(reduced) > 3:
            raise TypeError(f"{type(error).__qualname__}.__reduce__ says how in a way of its own")
        given, state = reduced[1], (*reduced[2:], None)[0] or {}
    if any(vars(base).get("__slots__") for base in kind.__mro__) and not _has_own_form(kind):
        raise TypeError(f"{kind.__qualname__} has __slots__ and no __reduce__")
    if not isinstance(state, dict):
        raise TypeError(f"the state of {kind.__qualname__} is no dict")
    return given, {name: each for name, each in state.items() if name != "__notes__"}


def _has_own_form(kind: type) -> bool:
    """Whether a class says itself how its exceptions are made again."""
    return any(name in vars(base) for base in _own_classes(kind) for name in OWN_FORMS)


def _own_classes(kind: type) -> Iterator[type]:
    return (base for base in kind.__mro__ if base.__module__ != builtins.__name__)


def _is_builtin(kind: type) -> bool:
    return kind.__module__ == builtins.__name__ and vars(builtins).get(kind.__name__) is kind


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(error: BaseException) -> str:
    try:
        return clean(str(error))
    except Exception as failed:
        return f"(its text cannot be made: {type(failed).__name__})"


def _named(error: BaseException) -> str:
    return f"{clean(type(error).__qualname__)}: {_text(error)}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    for _ in range(CAUSES_MAX):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


_FORMS: dict[type, Callable[[Any], list[Any]]] = {
    datetime.datetime: form_of,
    datetime.time: form_of,
    datetime.date: lambda value: [value.isoformat()],
    datetime.timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    complex: lambda value: [value.real, value.imag],
    bytearray: lambda value: [bytes(value)],
}


# ---- Making them again ----


def unpack(packed: Any, declared: Classes, traceback: str = "") -> Exception:
    """The exception that ``packed`` stands for; a RemoteError if it cannot be made. Raises nothing
    for bytes of a peer but ValueError, TypeError or another Exception."""
    return _error(packed, declared, declared, traceback, 0)


def _error(packed: Any, known: Classes, declared: Classes, traceback: str, depth: int) -> Exception:
    module, name, text, arguments, attributes, notes, causes = packed
    for each in (module, name, text, *notes):
        if type(each) is not str:
            raise TypeError("an exception's texts are not text")
    made: Exception = RemoteError(name, text, traceback)
    if arguments is not None:
        try:
            kind = _class_of(module, name, known)
            given = [_value(each, declared, depth + 1) for each in arguments]
            made = _made(kind, given, _dict(attributes, declared, depth + 1))
        except Exception as failed:
            made.add_note(f"it did not arrive as itself: {failed}")
    for note in notes[:NOTES_MAX]:
        made.add_note(note)
    error = made
    for cause_type, cause_text in causes[:CAUSES_MAX]:
        error.__cause__ = RemoteError(str(cause_type), str(cause_text))
        error = error.__cause__
    return made


def _class_of(module: str, name: str, known: Classes) -> type[Exception]:
    """The class under which the caller knows the exception. A program's own module may have
    another name there, but two declared classes have not one name."""
    if module == builtins.__name__:
        found = vars(builtins).get(name)
        if isinstance(found, type) and issubclass(found, known):
            return found
    for declared in known:
        own = declared.__module__ != builtins.__name__ and module != builtins.__name__
        if own and declared.__name__ == name.rpartition(".")[2]:
            return declared
    raise TypeError(f"{module}.{name} is not declared here")


def _made(kind: type[Exception], given: list[Any], attributes: dict[Any, Any]) -> Exception:
    if _has_own_form(kind):
        made = kind(*given)
    else:  # Its constructor has run at the server, perhaps with other arguments.
        made = kind.__new__(kind, *given)
        base: Any = next(each for each in kind.__mro__ if _is_builtin(each))
        base.__init__(made, *given)
    for name, value in attributes.items():
        if type(name) is not str or name.startswith("__"):
            raise ValueError(f"{name!r} is no attribute that an exception may bring")
        setattr(made, name, value)
    return made


def _value(packed: Any, declared: Classes, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ValueError("it is nested too deep")
    if type(packed) is not list:
        if type(packed) not in (*PLAIN, int, str):
            raise TypeError(f"a {type(packed).__name__} is no value of an exception")
        return packed
    name, *form = packed
    match name:
        case "list" | "tuple":
            items = [_value(each, declared, depth + 1) for each in form]
            return items if name == "list" else tuple(items)
        case "set" | "frozenset":
            items = [_value(each, declared, depth + 1) for each in form]
            check_keys(items, in_set=True)
            return set(items) if name == "set" else frozenset(items)
        case "dict":
            return _dict(form, declared, depth)
        case "Enum":
            return _member(declared, *form)
        case "Exception":
            return _error(form, (*declared, Exception), declared, "", depth)
    return _MAKERS[name](*form)


def _dict(form: list[Any], declared: Classes, depth: int) -> dict[Any, Any]:
    items = [_value(each, declared, depth + 1) for each in form]
    check_keys(items[::2])
    return dict(zip(items[::2], items[1::2], strict=True))


def _member(declared: Classes, module: str, qualname: str, name: str) -> enum.Enum:
    """The member of an enum that is imported here: under the same module's name, or beside a
    declared exception."""
    for each in (module, *(kind.__module__ for kind in declared)):
        found: Any = sys.modules.get(each)
        for part in qualname.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        if isinstance(found, enum.EnumMeta) and name in found.__members__:
            return found.__members__[name]
    raise ValueError(f"there is no {qualname}.{name} in {module} here")


_MAKERS: dict[str, Callable[..., Any]] = {
    "int": lambda text: int(text, 16),
    "str": lambda data: data.decode("utf-8", "surrogatepass"),
    "datetime": partial(made_of, "datetime"),
    "time": partial(made_of, "time"),
    "date": datetime.date.fromisoformat,
    "timedelta": datetime.timedelta,
    "complex": complex,
    "bytearray": lambda data: bytearray(memoryview(data)),
    **{kind.__name__: kind for kind in BY_TEXT},
}
