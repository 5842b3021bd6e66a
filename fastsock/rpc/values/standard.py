"""Values of the standard library that MessagePack does not have: how they are sent, and read again.

Each has one plain form: a text, or a list. Objects of subclasses are not sent, as they would arrive
as something else.
"""

import ipaddress
import re
from collections import OrderedDict, deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import Any, TypeAlias, get_args, get_origin

import msgspec

__all__ = ["READERS", "SENT_AS"]

Hook: TypeAlias = Callable[[Any, Any], Any]
"""msgspec's dec_hook: makes a value of a type, of what stands for it."""

FRACTION = re.compile(r"-?[0-9]{1,4300}(/[0-9]{1,4300})?")
"""As many digits as Python reads by default. No exponents, which make numbers of any length."""

NATIVE = (bytes, bytearray, memoryview)
"""What MessagePack has and JSON has not: text is not taken for it."""

ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
PATHS = (Path, PurePath, PosixPath, PurePosixPath)


def _wrong(wanted: Any, value: Any) -> ValueError:
    got = repr(value[:60]) if isinstance(value, str) else f"`{type(value).__name__}`"
    return ValueError(f"Expected `{wanted.__name__}`, got {got}")


def _of_text(wanted: Any, value: Any, _: Hook) -> Any:
    if not isinstance(value, str) or (wanted is Fraction and not FRACTION.fullmatch(value)):
        raise _wrong(wanted, value)
    try:
        return wanted(value)
    except (ValueError, ZeroDivisionError):
        raise _wrong(wanted, value) from None


def _complex(wanted: Any, value: Any, _: Hook) -> complex:
    if getattr(value, "shape", None) == ():  # One of numpy's numbers.
        value = value.item()
    if type(value) is complex:
        return value
    parts = value if isinstance(value, list) and len(value) == 2 else (value, 0.0)
    try:
        if all(type(part) in (int, float) for part in parts):
            return complex(*parts)
    except OverflowError:
        pass
    raise _wrong(wanted, value)


def _container(wanted: Any, value: Any, hook: Hook) -> Any:
    make, items = get_origin(wanted) or wanted, get_args(wanted)
    plain: Any = list if make is deque else dict
    if type(value) is not plain:
        raise _wrong(make, value)
    inner = plain[items] if items else plain
    return make(msgspec.convert(value, inner, builtin_types=NATIVE, dec_hook=hook))


def _list_of(value: deque[Any]) -> list[Any]:
    if value.maxlen is not None:
        raise TypeError("a deque with maxlen cannot be sent; send one without")
    return list(value)


SENT_AS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((*ADDRESSES, PosixPath, PurePosixPath, Fraction), str),
    complex: lambda value: [value.real, value.imag],
    deque: _list_of,
}
"""What each class's values are sent as. An OrderedDict is a map by itself."""

READERS: dict[type, Callable[[Any, Any, Hook], Any]] = {
    **dict.fromkeys((*ADDRESSES, *PATHS, Fraction), _of_text),
    complex: _complex,
    deque: _container,
    OrderedDict: _container,
}
"""Makes a value of the class, of its plain form. ValueError for anything else."""
