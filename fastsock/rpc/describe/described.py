"""A method that is known from a server's description alone: JSON in, JSON out.

JSON has fewer types than methods have. The description says what is meant: a str for ``bytes`` is
base64, a list for an array is its items, the keys of a ``dict[int, ...]`` are numbers. All else
goes to the server as it is, which checks it against the method's annotations.
"""

import ast
import base64
import binascii
import inspect
from typing import Any

import msgspec

from fastsock.rpc.describe.annotations import literal, parse
from fastsock.rpc.describe.definitions import Description, Field, MethodDescription
from fastsock.rpc.signature import Interface, Options, Signature
from fastsock.rpc.values.types_text import OWN

__all__ = ["DescribedMethod", "as_json"]

BYTES = ("bytes", "bytearray", "memoryview")
MAPPINGS = ("dict", "Mapping", "MutableMapping", "OrderedDict")


class DescribedMethod:
    """A method of the description. ValueError if that has none of the name."""

    def __init__(self, description: Description, name: str) -> None:
        found = [each for each in description.methods if each.name == name]
        if not found:
            names = ", ".join(each.name for each in description.methods)
            raise ValueError(f"{description.service} has no method {name!r}; it has {names}")
        self.method: MethodDescription = found[0]
        self._types = {each.name: each for each in description.types}

    def interface(self, description: Description) -> Interface:
        """One of this method alone, whose arguments and result are of any type here."""
        method = self.method
        signature = Signature(
            name=method.name,
            options=Options(oneway=method.oneway, idempotent=method.idempotent),
            parameters=inspect.Signature(),
            types={each.name: Any for each in method.parameters},
            result=Any,
            stream=method.stream,
            asynchronous=False,
            doc=method.doc,
        )
        vars(signature)["digest"] = method.digest  # Not that of Any: the server checks the types.
        return Interface(description.service, description.version, "", {method.name: signature})

    def arguments(self, given: Any) -> tuple[Any, ...]:
        """All arguments in their order, of a list or of a dict by name. ValueError names what is
        missing or too much, or cannot be what it is to be."""
        fields = self.method.parameters
        named = self._named(given)
        if unknown := ", ".join(sorted(named.keys() - {each.name for each in fields})):
            raise ValueError(f"{self.method.name}() has no parameter {unknown}")
        return tuple(self._argument(each, named) for each in fields)

    def _named(self, given: Any) -> dict[str, Any]:
        fields = self.method.parameters
        if isinstance(given, dict):
            return given
        if not isinstance(given, list):
            raise ValueError("arguments are a JSON list, or an object for keywords")
        if len(given) > len(fields):
            name, most = self.method.name, len(fields)
            raise ValueError(f"{name}() takes at most {most} arguments, not {len(given)}")
        return {field.name: value for field, value in zip(fields, given, strict=False)}

    def _argument(self, field: Field, named: dict[str, Any]) -> Any:
        if field.name in named:
            try:
                return self._meant(parse(field.type), named[field.name])
            except (binascii.Error, TypeError, ValueError) as error:
                raise ValueError(f"{field.name}: {field.type}: {error}") from None
        if field.default in ("", OWN):
            raise ValueError(f"{self.method.name}() needs {field.name}: {field.type}")
        kind, _, member = field.default.partition(".")
        for each in self._types[kind].fields if kind in self._types else ():
            if each.name == member:
                return literal(each.default)
        return literal(field.default)

    def _meant(self, tree: ast.expr, value: Any) -> Any:
        """The value that a JSON value stands for where that type is wanted."""
        match tree, value:
            case ast.Name(name), str() if name in BYTES:
                return base64.b64decode(value, validate=True)
            case ast.Name("ndarray"), _:
                return _array(value, None)
            case ast.Subscript(ast.Name("NDArray"), ast.Name(dtype)), _:
                return _array(value, dtype)
            case ast.Subscript(ast.Name("Annotated"), ast.Tuple([inner, *_])), _:
                return self._meant(inner, value)
            case ast.Subscript(ast.Name("tuple"), ast.Tuple([item, ast.Constant()])), list():
                return [self._meant(item, each) for each in value]
            case ast.Subscript(ast.Name("tuple"), ast.Tuple(items)), list():
                pairs = zip(items, value, strict=len(items) == len(value))
                return [self._meant(item, each) for item, each in pairs]
            case ast.Subscript(ast.Name(name), ast.Tuple([key, item])), dict() if name in MAPPINGS:
                return {_key(key, name): self._meant(item, each) for name, each in value.items()}
            case ast.Subscript(_, item), list():
                return [self._meant(item, each) for each in value]
            case ast.BinOp(), _:
                return self._of_union(tree, value)
            case ast.Name(name), _ if name in self._types:
                return self._record(name, value)
        return value

    def _of_union(self, tree: ast.expr, value: Any) -> Any:
        """None stays None, and a str a str where that is allowed; else the one other type."""
        members = list(_members(tree))
        names = [ast.unparse(each) for each in members]
        others = [each for each, name in zip(members, names, strict=True) if name != "None"]
        if value is None or (isinstance(value, str) and "str" in names) or len(others) != 1:
            return value
        return self._meant(others[0], value)

    def _record(self, name: str, value: Any) -> Any:
        described = self._types[name]
        if described.kind == "NewType":
            return self._meant(parse(described.fields[0].type), value)
        if not isinstance(value, dict):
            return value
        types = {each.name: each.type for each in described.fields if each.type}
        return {
            key: self._meant(parse(types[key]), each) if key in types else each
            for key, each in value.items()
        }


def _members(tree: ast.expr) -> list[ast.expr]:
    match tree:
        case ast.BinOp(left, ast.BitOr(), right):
            return [*_members(left), *_members(right)]
    return [tree]


def _key(tree: ast.expr, name: str) -> Any:
    match tree:
        case ast.Name("int"):
            return int(name)
        case ast.Name("float"):
            return float(name)
    return name


def _array(value: Any, dtype: str | None) -> Any:
    import numpy

    return numpy.asarray(value, None if dtype in (None, "Any") else dtype)


def as_json(value: Any) -> str:
    """A result as one line of JSON: bytes as base64, arrays as lists. TypeError for what JSON does
    not have."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's
        return value.tolist()
    raise TypeError(f"the result holds a {type(value).__qualname__}, which JSON does not have")
