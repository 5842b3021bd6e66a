"""Reads the texts of a server's description: types, defaults and names. None of them is trusted.

A text is parsed, never run, and its tree is checked node by node against the little that a type or
a default may hold. What comes out is made of the checked parts alone.
"""

import ast
import inspect
import keyword
import types
import unicodedata
from typing import Any

import msgspec

from fastsock.rpc.errors import RpcError

__all__ = ["KNOWN", "WrongDescription", "checked_name", "keywords", "literal", "parse"]

TEXT_CHARACTERS_MAX = 2000

KNOWN = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list memoryview object set"
    " str tuple",
    "typing": "Annotated Any Literal NotRequired",
    "collections": "OrderedDict deque",
    "collections.abc": "Collection Iterable Mapping MutableMapping MutableSequence MutableSet"
    " Sequence Set",
    "datetime": "date datetime time timedelta",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "ipaddress": "IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network",
    "pathlib": "Path PosixPath PurePath PurePosixPath",
    "uuid": "UUID",
    "msgspec": "UnsetType",
    "numpy": "bool_ bytes_ complex64 complex128 datetime64 float16 float32 float64 int8 int16 int32"
    " int64 ndarray str_ timedelta64 uint8 uint16 uint32 uint64 generic number integer floating"
    " inexact signedinteger unsignedinteger complexfloating",
    "numpy.typing": "NDArray",
}
"""The names that a type may hold, beside those that the description defines, by their modules."""

META = "msgspec.Meta"
META_KEYWORDS = frozenset(inspect.signature(msgspec.Meta).parameters)


class WrongDescription(RpcError):
    """The server's description of its service is not one."""


def checked_name(name: str) -> str:
    """The name, if it is an identifier that means what it shows."""
    plain = unicodedata.normalize("NFKC", name) == name
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__") or not plain:
        raise WrongDescription(f"the server has a name that is none in Python: {name[:60]!r}")
    return name


def parse(text: str) -> ast.expr:
    """The tree of a type, which holds names, Literal and Annotated, brackets and bars."""
    tree = _tree(text)
    _check(tree, text)
    return tree


def literal(text: str) -> Any:
    """The value of an expression that is made of literals alone."""
    try:
        return ast.literal_eval(_tree(text))
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise _wrong(text) from None


def keywords(text: str, allowed: frozenset[str]) -> list[str]:
    """The arguments of a call, as in ``a=1, b='x'``: literals, under allowed names."""
    return [ast.unparse(each) for each in _keywords_of(_tree(f"f({text})"), allowed, text)]


def _keywords_of(call: ast.expr, allowed: frozenset[str], text: str) -> list[ast.keyword]:
    if not isinstance(call, ast.Call) or call.args:
        raise _wrong(text)
    made = []
    for each in call.keywords:
        if each.arg not in allowed:
            raise _wrong(text)
        made.append(ast.keyword(each.arg, _tree(repr(literal(ast.unparse(each.value))))))
    return made


def _wrong(text: str) -> WrongDescription:
    return WrongDescription(f"the server's description has what is no type or value: {text[:60]!r}")


def _tree(text: str) -> ast.expr:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _wrong(text)
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _wrong(text) from None


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Name() | ast.Constant(value=None) | ast.Constant(value=types.EllipsisType()):
            return
        case ast.BinOp(left, ast.BitOr(), right):
            inside = [left, right]
        case ast.Subscript(ast.Name("Literal"), values):
            literal(ast.unparse(values))
            return
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([annotated, *notes])):
            for each in notes:
                if not isinstance(each, ast.Call) or ast.unparse(each.func) != META:
                    raise _wrong(text)
                each.keywords = _keywords_of(each, META_KEYWORDS, text)
            inside = [annotated]
        case ast.Subscript(ast.Name(), ast.Tuple(inside)):
            pass
        case ast.Subscript(ast.Name(), argument):
            inside = [argument]
        case _:
            raise _wrong(text)
    for each in inside:
        _check(each, text)
