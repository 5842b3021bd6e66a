"""Datetimes and times as they are: with their zone, offset and fold.

MessagePack's timestamp is in UTC, and its text would be a str where any value may stand. So they
are the extension MOMENT, of MessagePack: [MARK, type, text, key of the zone, fold].
"""

import datetime
import re
import zoneinfo
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgspec

from fastsock.rpc import wire
from fastsock.rpc.values._values import is_plain
from fastsock.rpc.values.hashes import ANYTHING, with_cheap_hashes
from fastsock.rpc.values.standard import NATIVE, SENT_AS

MOMENT = 3
MARK = "\x01moment\x01"

_mark = re.compile(MARK.encode())
_kinds: dict[str, Any] = {"datetime": datetime.datetime, "time": datetime.time}
_parts_of = msgspec.msgpack.Decoder(tuple[str, str, str, str | None, int]).decode


def form_of(value: datetime.datetime | datetime.time) -> list[Any]:
    """Its text with the offset, the key of its zone, and its fold. TypeError if its zone is lost
    so."""
    key = getattr(value.tzinfo, "key", None)
    key = key if isinstance(key, str) else None
    if value.tzinfo is not None and key is None and value.utcoffset() is None:
        raise TypeError(f"a time in {value.tzinfo!r}, which has no offset, cannot be sent")
    return [value.isoformat(), key, value.fold]


def made_of(kind: str, text: str, key: str | None, fold: int) -> Any:
    """The datetime or time of such a form. It is in the named zone if that is known here and has
    the same offset, else it has the offset."""
    made = _kinds[kind].fromisoformat(text).replace(fold=fold)
    if key is None:
        return made
    try:
        zoned = made.replace(tzinfo=zoneinfo.ZoneInfo(key))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        zoned = None
    if zoned is not None and zoned.utcoffset() == made.utcoffset():
        return zoned
    if made.tzinfo is None:
        raise ValueError(f"the zone {key[:80]!r} is not known")
    return made


def moment_of(data: bytes | memoryview) -> Any:
    """What the data of an extension MOMENT stands for."""
    return made_of(*_parts_of(data)[1:])


class _Kept:
    """A value that only the encoder's hook knows."""

    def __init__(self, value: Any) -> None:
        self.value = value


_BUILTIN = (bytes, bytearray, memoryview, *_kinds.values(), msgspec.msgpack.Ext, _Kept)


def marked(value: Any) -> Any:
    """The value, or an equal one for the encoder, in which its datetimes and times are
    extensions."""
    if is_plain(value, 0):
        return value
    return _marked(msgspec.to_builtins(value, builtin_types=_BUILTIN, enc_hook=_Kept))


def _marked(value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_marked(each) for each in value]
        case dict():
            return {_key(key): _marked(each) for key, each in value.items()}
        case _Kept(value=deque() | OrderedDict() as inner):
            return marked(SENT_AS[type(inner)](inner)) if type(inner) in SENT_AS else inner
        case _Kept():
            return value.value
        case datetime.datetime() | datetime.time():
            return _packed(value)
    return value


def _packed(value: datetime.datetime | datetime.time) -> Any:
    if value.tzinfo is datetime.UTC and not value.fold:
        return value
    form = wire.encode([MARK, type(value).__name__, *form_of(value)])
    return msgspec.msgpack.Ext(MOMENT, form)


class Key:
    """An extension in a key of a dict, where one has to be hashed: the encoder's hook gives it."""

    def __init__(self, ext: msgspec.msgpack.Ext) -> None:
        self.ext = ext


def _key(key: Any) -> Any:
    match key:
        case tuple():
            return tuple(map(_key, key))
        case _Kept():
            return key.value
        case datetime.datetime() | datetime.time():
            packed = _packed(key)
            return packed if packed is key else Key(packed)
    return key


def with_moments(
    decode: Callable[[Any], Any],
    whole: Any,
    ext_hook: Callable[[int, memoryview], Any],
    dec_hook: Callable[[Any, Any], Any],
) -> Callable[[Any], Any]:
    """``decode``, which reads such extensions also where the type asks for datetimes and times."""
    decode_any = msgspec.msgpack.Decoder(ext_hook=ext_hook).decode
    decode_any = with_cheap_hashes(decode_any, ANYTHING)

    def decode_moments(data: Any) -> Any:
        if _mark.search(data) is None:
            return decode(data)
        plain = decode_any(data)
        return msgspec.convert(plain, whole, builtin_types=NATIVE, dec_hook=dec_hook)

    return decode_moments
