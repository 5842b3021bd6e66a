"""Writes down a service that a server describes, as a module to save and import.

The module holds the interface class and the types that its methods use. Everything in it is either
of this file, or an identifier, a literal by ``repr``, or a checked type: nothing that a server says
can become code. Modules go by other names where the server uses theirs.
"""

import ast
import builtins
from collections.abc import Iterator

from fastsock.rpc.describe.annotations import (
    KNOWN,
    WrongDescription,
    checked_name,
    keywords,
    literal,
    parse,
)
from fastsock.rpc.describe.definitions import (
    Description,
    Field,
    MethodDescription,
    TypeDescription,
)
from fastsock.rpc.values.types_text import OWN

__all__ = ["stub_text"]

MODULE_OF = {name: module for module, names in KNOWN.items() for name in names.split()}
ENUMS = ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag")
OPTIONS = frozenset({"array_like", "frozen", "rename", "tag", "tag_field"})
ALIASES = {"numpy": "np", "numpy.typing": "npt"}
OF_SERVICE = frozenset({"rpc_name", "rpc_version"})


def stub_text(description: Description) -> str:
    """The source of the module. Raises WrongDescription for a description that cannot be written
    down."""
    text = _Writer(description).text()
    try:
        compile(text, "<stub>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WrongDescription(f"the server's description makes no Python: {error}") from None
    return text


class _Writer:
    def __init__(self, description: Description) -> None:
        self._description = description
        self._class_name = checked_name(description.service.rpartition(".")[2])
        self._types = {checked_name(each.name): each for each in description.types}
        if len(self._types) < len(description.types) or self._class_name in self._types:
            raise WrongDescription("the server has several types of one name")
        for name in self._types:
            if hasattr(builtins, name):
                raise WrongDescription(f"the server has a type with the name of Python's {name}")
        self._taken = {self._class_name, *self._types, *_names(description)}
        self._modules: dict[str, str] = {}

    def text(self) -> str:
        enums = [each for each in self._description.types if each.kind in ENUMS]
        others = [each for each in self._description.types if each.kind not in ENUMS]
        parts = ["\n".join(self._type(each)) for each in [*enums, *others]]
        parts.append("\n".join(self._interface()))
        head = '"""Made by fastsock-rpc stub."""\n\nfrom __future__ import annotations\n\n'
        # After the parts, which find out what they need.
        plain = sorted(self._import(module) for module in self._modules if module != "rpc")
        needed = [*plain, *([""] if plain else []), self._import("rpc")]
        return head + "\n\n\n".join(["\n".join(needed), *parts]) + "\n"

    # ---- Names ----

    def _module(self, module: str) -> str:
        """The name by which the written module knows another one."""
        if module not in self._modules:
            name = ALIASES.get(module, module.rpartition(".")[2])
            while name in self._taken or name in self._modules.values():
                name += "_"
            self._modules[module] = name
        return self._modules[module]

    def _import(self, module: str) -> str:
        name, (package, _, last) = self._module(module), module.rpartition(".")
        package = "fastsock" if module == "rpc" else package
        renamed = "" if name == last else f" as {name}"
        return f"from {package} import {last}{renamed}" if package else f"import {last}{renamed}"

    def _type_name(self, name: str) -> ast.expr:
        if name in self._types:
            return ast.Name(name)
        module = MODULE_OF.get(name)
        if module is None:
            raise WrongDescription(f"the server uses a type that it does not describe: {name[:60]}")
        if module == "builtins":
            return ast.Name(self._builtin(name))
        return ast.Attribute(ast.Name(self._module(module)), name)

    def _builtin(self, name: str) -> str:
        return f"{self._module('builtins')}.{name}" if name in self._taken else name

    def _annotation(self, text: str) -> str:
        return ast.unparse(_Renamed(self).visit(parse(text)))

    def _default(self, text: str) -> str:
        """A literal, or a member of an enum that is described."""
        kind, _, member = text.partition(".")
        described = self._types.get(kind)
        if described is not None and described.kind in ENUMS:
            if all(each.name != member for each in described.fields):
                raise WrongDescription(f"the server's {kind} has no member {member[:60]!r}")
            return text
        return repr(literal(text))

    # ---- Types ----

    def _type(self, described: TypeDescription) -> Iterator[str]:
        kind, name = described.kind, described.name
        if kind == "NewType":
            supertype = self._annotation("".join(each.type for each in described.fields))
            yield f"{name} = {self._module('typing')}.NewType({name!r}, {supertype})"
            return
        yield from self._head(described)
        if described.doc or not described.fields:
            yield f"    {described.doc!r}"
        if kind in ENUMS:
            for member in described.fields:
                if member.name.startswith("_"):
                    raise WrongDescription(f"{name} cannot have a member {member.name[:60]!r}")
                yield f"    {checked_name(member.name)} = {literal(member.default)!r}"
            return
        for field, default in _with_defaults(described.fields, keep=_out_of_order(described)):
            if field.name in self._types:
                raise WrongDescription(f"{name} has a field with the name of a type: {field.name}")
            tail = f" = {self._default(default)}" if default else ""
            if kind == "dataclass" and default in ("[]", "{}"):
                factory = self._builtin("list" if default == "[]" else "dict")
                tail = f" = {self._module('dataclasses')}.field(default_factory={factory})"
            yield f"    {checked_name(field.name)}: {self._annotation(field.type)}{tail}"

    def _head(self, described: TypeDescription) -> Iterator[str]:
        kind, name = described.kind, described.name
        options = keywords(", ".join(described.options), OPTIONS)
        if _out_of_order(described):
            options.append("kw_only=True")
        if kind == "exception":
            yield f"class {name}({self._builtin('Exception')}):"
        elif kind == "dataclass":
            arguments = f"({', '.join(options)})" if options else ""
            yield f"@{self._module('dataclasses')}.dataclass{arguments}"
            yield f"class {name}:"
        elif kind == "Struct":
            yield f"class {name}({', '.join([self._module('msgspec') + '.Struct', *options])}):"
        elif kind in ("TypedDict", "NamedTuple"):
            yield f"class {name}({self._module('typing')}.{kind}):"
        elif kind in ENUMS:
            yield f"class {name}({self._module('enum')}.{kind}):"
        else:
            raise WrongDescription(f"the server has a type of unknown kind: {kind[:60]!r}")

    # ---- The interface ----

    def _interface(self) -> Iterator[str]:
        description = self._description
        yield f"class {self._class_name}({self._module('rpc')}.Service):"
        if description.doc:
            yield f"    {description.doc!r}"
            yield ""
        yield f"    rpc_name = {description.service!r}"
        yield f"    rpc_version = {description.version!r}"
        for method in description.methods:
            yield ""
            yield from self._method(method)

    def _method(self, method: MethodDescription) -> Iterator[str]:
        name, rpc = checked_name(method.name), self._module("rpc")
        if name in OF_SERVICE:
            raise WrongDescription(f"a method cannot have the name {name}")
        options = [name for name in ("oneway", "idempotent") if getattr(method, name)]
        arguments = [f"{option}=True" for option in options]
        if method.raises:
            arguments.append(f"raises=[{', '.join(map(self._exception, method.raises))}]")
        result = self._annotation(method.result)
        if method.stream:
            result = f"{self._module('collections.abc')}.Iterator[{result}]"
        yield f"    @{rpc}.method" + (f"({', '.join(arguments)})" if arguments else "")
        yield f"    def {name}({', '.join(self._parameters(method))}) -> {result}:"
        if method.doc:
            yield f"        {method.doc!r}"
        yield "        raise NotImplementedError"

    def _parameters(self, method: MethodDescription) -> Iterator[str]:
        yield "self"
        ordered = [each for each in method.parameters if each.kind != "keyword"]
        named = [each for each in method.parameters if each.kind == "keyword"]
        last = max((n for n, each in enumerate(ordered) if each.kind == "positional"), default=-1)
        for number, (field, default) in enumerate(_with_defaults(ordered, keep=False)):
            yield self._parameter(field, default)
            if number == last:
                yield "/"
        if named:
            yield "*"
        for field, default in _with_defaults(named, keep=True):
            yield self._parameter(field, default)

    def _parameter(self, field: Field, default: str) -> str:
        if field.name == "self":
            raise WrongDescription("a parameter cannot have the name self")
        tail = f" = {self._default(default)}" if default else ""
        return f"{checked_name(field.name)}: {self._annotation(field.type)}{tail}"

    def _exception(self, name: str) -> str:
        described = self._types.get(name)
        known = getattr(builtins, name, None)
        if described is not None and described.kind == "exception":
            return name
        if described is None and isinstance(known, type) and issubclass(known, Exception):
            return self._builtin(name)
        raise WrongDescription(f"the server raises what it does not describe: {name[:60]!r}")


class _Renamed(ast.NodeTransformer):
    """Replaces the names of types by those of the written module."""

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._writer._type_name(node.id)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        meta = ast.Attribute(ast.Name(self._writer._module("msgspec")), "Meta")
        return ast.Call(meta, [], node.keywords)


def _names(description: Description) -> Iterator[str]:
    """Every name of the description that stands for something in the module."""
    for each in description.types:
        yield from (field.name for field in each.fields)
    for method in description.methods:
        yield method.name
        yield from (field.name for field in method.parameters)


def _out_of_order(described: TypeDescription) -> bool:
    """Whether fields without a default come behind others: their class takes keywords only."""
    if described.kind not in ("Struct", "dataclass"):
        return False
    given = [bool(each.default) and each.default != OWN for each in described.fields]
    return given != sorted(given)


def _with_defaults(fields: list[Field], *, keep: bool) -> Iterator[tuple[Field, str]]:
    """The fields with the defaults that can be written; unless ``keep``, none before a field
    that has none."""
    last = -1
    if not keep:
        missing = [n for n, each in enumerate(fields) if each.default in ("", OWN)]
        last = max(missing, default=-1)
    for number, field in enumerate(fields):
        wanted = number > last and field.default != OWN
        yield field, field.default if wanted else ""
