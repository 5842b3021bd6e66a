"""Arguments and results as bytes: MessagePack by msgspec, numpy arrays and large bytes as raw
segments behind it.

A body without segments is MessagePack alone. With segments (flag SEGMENTS) it is: u32, how many
parts; u64 for each part, its length; then the parts, each at the next multiple of 16. The first
part is MessagePack, the others are segments. There, an array is the extension ARRAY, whose data is
MessagePack of [segment, dtype, shape], and a bytes object the extension BYTES, of its segment.
In any body a scalar of numpy is the extension SCALAR, of [dtype, its bytes], where it may stay one,
and datetimes and times are extensions, see moments.py.

Types are enforced where a body is decoded. Nothing decoded here can run code: no pickle, no
references.
"""

import re
import struct
import sys
import threading
import typing
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Annotated, Any, TypeAlias

import msgspec

from fastsock.rpc import wire
from fastsock.rpc.values import moments
from fastsock.rpc.values.hashes import ANYTHING, nodes_of, place_of, with_cheap_hashes
from fastsock.rpc.values.standard import NATIVE, READERS, SENT_AS
from fastsock.rpc.values.types_text import parts_of
from fastsock.rpc.values.weights import light, weights_of

ARRAY = 1
BYTES = 2
SCALAR = 4
ALIGNMENT = 16
DTYPES = "biufcmMSU"
"""Kinds of numpy's dtypes that are plain bytes."""

UNITS = "mMc"
"""Those that Python's types cannot hold."""

DTYPE_NAME = re.compile(r"[<>|=]?[biufcmMSU][0-9]{1,6}(\[[0-9a-zA-Z]{1,8}\])?")

DATETIME64 = re.compile(r"NaT|-?[0-9]{1,19}(-[0-9]{2}){0,2}(T[0-9:.]+)?")
"""Without a zone, which numpy leaves out with a warning."""

COUNT = struct.Struct(">I")
LENGTH = struct.Struct(">Q")
PARTS_MAX = 1 << 12

Parts: TypeAlias = Sequence[memoryview]


class _Segments(threading.local):
    """The segments of the body that this thread encodes or decodes, and whether a numpy scalar
    has become a number of Python's."""

    current: list[memoryview] = []
    made_plain = False


_segments = _Segments()


class Codec:
    """Encodes and decodes values of one type: a method's arguments or its result.

    ``type`` is what msgspec understands, or with ``of_tuple`` a tuple of such types. A value of
    type bytes, or an item of the tuple, that is longer than a chunk becomes a segment.
    """

    def __init__(self, type: Any, *, of_tuple: bool = False) -> None:
        items = type if of_tuple else (type,)
        marked = tuple(bytes | msgspec.msgpack.Ext if item is bytes else item for item in items)
        self.marks_bytes = bytes in items
        whole: Any = tuple[items]  # type: ignore[valid-type]
        nodes = list(nodes_of(whole))
        encode_plain = _encode_scalars if _has_any(whole, nodes) else _encode_plain
        self.encode_plain: Callable[[Any], bytes] = encode_plain
        self._encode_unmarked, self._encode_marked = encode_plain, _MARKED[encode_plain]
        self._has_moments = _has_moment(nodes)
        if self._has_moments:
            self.encode_plain = lambda value: encode_plain(moments.marked(value))
        self._decode_unmarked = self._decode_marked = _decode(items, of_tuple)
        if self.marks_bytes:  # In a body without segments there are no marks.
            self._decode_marked = _decode(marked, of_tuple)
        self._of_tuple = of_tuple
        self._weights = weights_of(whole)
        self.decode = wire.checked(self._decode)
        self.weigh = wire.checked(self._weigh)
        self.decode_plain = light(self._decode_unmarked, self._weights)
        """For a body of one frame without segments. Raises anything."""

    def encode(self, value: Any) -> tuple[int, bytes | list[memoryview]]:
        """Returns flags and the body: bytes, or with SEGMENTS its parts. TypeError for a value
        that cannot be sent."""
        if self.marks_bytes:
            value = tuple(map(_segment_marked, value)) if self._of_tuple else _segment_marked(value)
        try:
            if self._has_moments:
                value = moments.marked(value)
            return 0, self._encode_unmarked(value)
        except _NeedsSegments:
            return _encode_segments(value, self._encode_marked)
        except OverflowError as error:
            raise ValueError(str(error)) from None

    def _weigh(self, flags: int, body: bytes | memoryview, values_max: int) -> int:
        """What a peer's body weighs, see weights.py. ``weigh``, which others call before they
        decode, raises wire.Malformed if that is too much."""
        packed = _split(memoryview(body))[0] if flags & wire.SEGMENTS else body
        return self._weights.of(packed, values_max)

    def _decode(self, flags: int, body: bytes | memoryview) -> Any:
        """The value that a peer's body holds. ``decode``, which others call, raises nothing but
        wire.Malformed."""
        if not flags & wire.SEGMENTS:
            return self._decode_unmarked(body)
        # Arrays own what they see: a frame that other calls may share is copied.
        view = memoryview(body)
        packed, segments = _split(memoryview(bytearray(view)) if view.readonly else view)
        _segments.current = segments
        try:
            value = self._decode_marked(packed)
            if self._of_tuple:
                return tuple(map(_bytes_of, value))
            return _bytes_of(value)
        finally:
            _segments.current = []


def owned(parts: list[memoryview]) -> list[memoryview]:
    """The parts, with copies of those that others may change before they are sent. A read-only
    array saves its owner the copy."""
    return [part if part.readonly else memoryview(bytes(part)) for part in parts]


def _decode(items: tuple[Any, ...], of_tuple: bool) -> Callable[[bytes | memoryview], Any]:
    """msgspec's decode for a tuple of these types, or for the only one."""
    whole: Any = tuple[items] if of_tuple else items[0]  # type: ignore[valid-type]
    return with_cheap_hashes(_reader(whole), place_of(whole, _reader))


def _reader(whole: Any) -> Callable[[bytes | memoryview], Any]:
    decode = msgspec.msgpack.Decoder(whole, ext_hook=_array_of, dec_hook=_fitted).decode
    nodes = list(nodes_of(whole))
    if _has_moment(nodes):
        decode = moments.with_moments(decode, whole, _array_of, _fitted)
    return _with_plain_scalars(decode, whole) if _has_any(whole, nodes) else decode


def _with_plain_scalars(decode: Callable[[Any], Any], whole: Any) -> Callable[[Any], Any]:
    """``decode``, which takes numpy's scalars for numbers if they do not stand for Any alone."""

    def decode_scalars(data: Any) -> Any:
        try:
            return decode(data)
        except msgspec.ValidationError:
            _segments.made_plain = False
            plain = _decode_plain(data)
            if not _segments.made_plain:
                raise
        return msgspec.convert(plain, whole, builtin_types=NATIVE, dec_hook=_fitted)

    return decode_scalars


def _has_any(whole: Any, nodes: list[Any]) -> bool:
    """Whether there is a place in the type for any value; these are the types within."""
    anything = msgspec.inspect.AnyType(), msgspec.inspect.CustomType(object)
    if any(node in anything for node in nodes):
        return True
    holds = any(node in _HOLDERS for node in nodes)
    return holds and any(part in (Any, deque, OrderedDict) for part in parts_of(whole))


_HOLDERS = [msgspec.inspect.CustomType(cls) for cls in (deque, OrderedDict)]
"""Of a deque[datetime] msgspec does not tell the items."""


def _has_moment(nodes: list[Any]) -> bool:
    """Whether there is a place for a datetime or a time among these types."""
    wanted = msgspec.inspect.AnyType | msgspec.inspect.DateTimeType | msgspec.inspect.TimeType
    return any(isinstance(node, wanted) or node in _HOLDERS for node in nodes)


class _NeedsSegments(Exception):
    """The value holds an array, or a large bytes object."""


def _refuse_array(value: Any, *, keep: bool = False) -> Any:
    if isinstance(value, _Large) or _is_numpy(value, "ndarray"):
        raise _NeedsSegments
    return _plain(value, keep)


def _plain(value: Any, keep: bool) -> Any:
    """The plain form of what the standard library has, and a numpy scalar as Python's, or with
    ``keep`` as an extension; TypeError for what cannot be sent."""
    if sent_as := SENT_AS.get(type(value)):
        return sent_as(value)
    if type(value) is moments.Key:
        return value.ext
    if _is_numpy(value, "generic"):
        if why := _why_not(value.dtype):
            raise TypeError(f"a {type(value).__qualname__} {why}")
        if keep or value.dtype.kind in UNITS:
            scalar = wire.encode([value.dtype.str, value.tobytes()])
            return msgspec.msgpack.Ext(SCALAR, scalar)
        return value.item()
    raise TypeError(f"a {type(value).__qualname__} cannot be sent; docs/guide/rpc.md lists types")


def _why_not(dtype: Any) -> str:
    """Why items of the dtype are not sent; "" if they are."""
    if dtype.kind not in DTYPES or dtype.hasobject:
        return "cannot be sent; it is not plain numbers"
    return "cannot be sent; send a float64 or complex128" if _is_long(dtype) else ""


def _is_long(dtype: Any) -> bool:
    """Whether it is a longdouble or clongdouble, which machines have in several forms."""
    return dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16)


def _is_numpy(value: Any, kind: str) -> bool:
    """Whether the value is a numpy ndarray or generic, without importing numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, getattr(numpy, kind))


_encode_plain = msgspec.msgpack.Encoder(enc_hook=_refuse_array).encode
_encode_scalars = msgspec.msgpack.Encoder(enc_hook=partial(_refuse_array, keep=True)).encode


def _encode_segments(
    value: Any, encode: Callable[[Any], bytes]
) -> tuple[int, bytes | list[memoryview]]:
    segments: list[memoryview] = []
    _segments.current = segments
    try:
        packed = memoryview(encode(value))
    finally:
        _segments.current = []
    parts = [packed, *segments]
    if len(parts) > PARTS_MAX:
        raise TypeError(f"{len(segments)} arrays in one call; at most {PARTS_MAX - 1} can be sent")
    table = COUNT.pack(len(parts)) + b"".join(LENGTH.pack(len(part)) for part in parts)
    body, at = [memoryview(table)], len(table)
    for part in parts:
        if padding := -at % ALIGNMENT:
            body.append(memoryview(bytes(padding)))
        body.append(part)
        at += padding + len(part)
    return wire.SEGMENTS, b"".join(body) if at <= wire.CHUNK_BYTES else body


def _segment_marked(value: Any) -> Any:
    """A large bytes object as a mark that the encoder's hook makes a segment of."""
    if type(value) is bytes and len(value) > wire.CHUNK_BYTES:
        return _Large(value)
    return value


class _Large:
    def __init__(self, data: bytes) -> None:
        self.data = data


def _mark(value: Any, *, keep: bool = False) -> Any:
    segments = _segments.current
    if isinstance(value, _Large):
        segments.append(memoryview(value.data))
        return msgspec.msgpack.Ext(BYTES, wire.encode(len(segments) - 1))
    if not _is_numpy(value, "ndarray"):
        return _plain(value, keep)
    import numpy

    if isinstance(value, numpy.ma.MaskedArray):
        raise TypeError("a MaskedArray cannot be sent; send its data and its mask")
    if type(value) not in (numpy.ndarray, numpy.memmap):
        name = type(value).__qualname__
        raise TypeError(f"a {name} cannot be sent; send numpy.asarray() of it")
    array = numpy.asarray(value, order="C")
    if why := _why_not(array.dtype):
        raise TypeError(f"an array of dtype {array.dtype} {why}")
    flat = array.reshape(-1).view(numpy.uint8) if array.size else numpy.empty(0, numpy.uint8)
    segments.append(flat.data)
    meta = [len(segments) - 1, array.dtype.str, array.shape]
    return msgspec.msgpack.Ext(ARRAY, wire.encode(meta))


_MARKED = {
    _encode_plain: msgspec.msgpack.Encoder(enc_hook=_mark).encode,
    _encode_scalars: msgspec.msgpack.Encoder(enc_hook=partial(_mark, keep=True)).encode,
}
"""The encoders that make segments, by those that do not."""

SIDES_MAX = 64
"""The most sides that numpy gives an array. They are counted before they are multiplied."""

_decode_array_meta = msgspec.msgpack.Decoder(
    tuple[int, str, Annotated[list[int], msgspec.Meta(max_length=SIDES_MAX)]]
).decode
_decode_scalar = msgspec.msgpack.Decoder(tuple[str, bytes]).decode
_decode_index = msgspec.msgpack.Decoder(int).decode


def _split(body: memoryview) -> tuple[memoryview, list[memoryview]]:
    if len(body) < COUNT.size:
        raise ValueError("the body ends in its table of segments")
    (count,) = COUNT.unpack_from(body)
    at = COUNT.size + count * LENGTH.size
    if not 1 <= count <= PARTS_MAX or len(body) < at:
        raise ValueError(f"the body of {len(body)} bytes cannot have {count} parts")
    parts = []
    for number in range(count):
        (length,) = LENGTH.unpack_from(body, COUNT.size + number * LENGTH.size)
        at += -at % ALIGNMENT
        if at + length > len(body):
            raise ValueError(f"segment of {length} bytes in a body of {len(body)}")
        parts.append(body[at : at + length])
        at += length
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes behind the last segment")
    return parts[0], parts[1:]


def _segment(index: int) -> memoryview:
    segments = _segments.current
    if not 0 <= index < len(segments):
        raise ValueError(f"the body has no segment {index}")
    return segments[index]


def _array_of(code: int, data: memoryview) -> Any:
    """msgspec's hook for extensions: an array is a view of its segment."""
    if code == moments.MOMENT:
        return moments.moment_of(data)
    if code == SCALAR:
        return _scalar_of(data)
    if code != ARRAY:
        return msgspec.msgpack.Ext(code, bytes(data))
    import numpy

    index, dtype_name, shape = _decode_array_meta(data)
    segment, dtype = _segment(index), _dtype_of(dtype_name)
    wanted = dtype.itemsize * prod(shape)
    if any(side < 0 for side in shape) or wanted != len(segment):
        raise ValueError(f"shape {shape} of {dtype} is not that of {len(segment)} bytes")
    if wanted == 0:
        return numpy.empty(shape, dtype)
    return numpy.frombuffer(segment, dtype).reshape(shape)


def _plain_of(code: int, data: memoryview) -> Any:
    """The same hook, which makes numpy's scalars those of Python."""
    if code != SCALAR:
        return _array_of(code, data)
    _segments.made_plain = True
    value = _scalar_of(data)
    return value if value.dtype.kind in UNITS else value.item()


_decode_plain = with_cheap_hashes(msgspec.msgpack.Decoder(ext_hook=_plain_of).decode, ANYTHING)


def _dtype_of(name: str) -> Any:
    import numpy

    if not DTYPE_NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is not the dtype of an array that is accepted")
    try:
        dtype = numpy.dtype(name)
    except (TypeError, ValueError):
        raise ValueError(f"{name[:40]!r} is not a dtype") from None
    if dtype.itemsize == 0 or _is_long(dtype):
        raise ValueError(f"an array of dtype {name} is not accepted")
    return dtype


def _scalar_of(data: memoryview) -> Any:
    import numpy

    name, packed = _decode_scalar(data)
    dtype = _dtype_of(name)
    if dtype.itemsize != len(packed):
        raise ValueError(f"a {dtype} of {len(packed)} bytes")
    return numpy.frombuffer(packed, dtype)[0]


def _fitted(wanted: Any, value: Any) -> Any:
    """msgspec's hook for types that it does not know: those of the standard library, numpy's
    arrays and scalars."""
    origin = typing.get_origin(wanted) or wanted
    if reader := READERS.get(origin):
        return reader(wanted, value, _fitted)
    if origin.__module__.partition(".")[0] != "numpy":
        return value
    import numpy

    if issubclass(origin, numpy.generic):
        return _scalar(origin, value)
    dtypes = typing.get_args((*typing.get_args(wanted), None, None)[1])
    if dtypes and isinstance(value, numpy.ndarray) and dtypes[0] is not Any:
        dtype = typing.get_origin(dtypes[0]) or dtypes[0]
        if isinstance(dtype, type) and not numpy.issubdtype(value.dtype, dtype):
            raise ValueError(f"Expected an array of {dtype.__name__}, got {value.dtype}")
    return value


def _scalar(wanted: Any, value: Any) -> Any:
    """A numpy scalar, of what is as strictly checked as for Python's own type."""
    import numpy

    if isinstance(value, numpy.generic):
        if isinstance(value, wanted):
            return value
        if value.dtype.kind in UNITS:
            got = type(value).__name__
            raise ValueError(f"Expected `{wanted.__name__}`, got `{got}`")
        value = value.item()
    if issubclass(wanted, numpy.complexfloating):
        value = READERS[complex](wanted, value, _fitted)
    if issubclass(wanted, numpy.datetime64):
        fits = isinstance(value, str) and DATETIME64.fullmatch(value) is not None
    elif issubclass(wanted, numpy.bool_):
        fits = isinstance(value, bool)
    else:
        kinds = (numpy.integer, int), (numpy.floating, (float, int)), (numpy.str_, str)
        plain = [kind for base, kind in (*kinds, (numpy.bytes_, bytes)) if issubclass(wanted, base)]
        fits = not plain or (isinstance(value, plain[0]) and not isinstance(value, bool))
    if not fits:
        raise ValueError(f"Expected `{wanted.__name__}`, got `{type(value).__name__}`")
    try:
        with numpy.errstate(over="raise"):
            return wanted(value)
    except (OverflowError, FloatingPointError):
        raise ValueError(f"{value} is out of the range of {wanted.__name__}") from None


def _bytes_of(value: Any) -> Any:
    if type(value) is not msgspec.msgpack.Ext:
        return value
    if value.code != BYTES:
        raise ValueError(f"extension {value.code} is not known")
    return bytes(_segment(_decode_index(value.data)))
