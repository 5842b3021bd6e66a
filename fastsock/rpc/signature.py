"""What is known of an interface: its methods, with their options, types and texts."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastsock.rpc.values.marshal import Codec
from fastsock.rpc.values.types_text import default_text, spell

__all__ = ["Interface", "Options", "Signature", "is_async"]


@dataclass(frozen=True)
class Options:
    """What :func:`fastsock.rpc.method` was told."""

    inline: bool = False
    oneway: bool = False
    idempotent: bool = False
    raises: tuple[type[Exception], ...] = ()


@dataclass(frozen=True, eq=False)
class Signature:
    """What is known of one marked method."""

    name: str
    options: Options
    parameters: inspect.Signature
    types: dict[str, Any]
    result: Any
    stream: bool
    asynchronous: bool
    doc: str

    @cached_property
    def text(self) -> str:
        """As in a program: ``add(a: float, b: float) -> float``."""
        shown: list[str] = []
        for name, each in self.parameters.parameters.items():
            if each.kind is each.KEYWORD_ONLY and "*" not in shown:
                shown.append("*")
            default = default_text(each.default)
            shown.append(f"{name}: {spell(self.types[name])}" + (default and f" = {default}"))
        result = f"Iterator[{spell(self.result)}]" if self.stream else spell(self.result)
        return f"{self.name}({', '.join(shown)}) -> {result}"

    @cached_property
    def digest(self) -> str:
        """The same on both sides if and only if they understand each other."""
        types = [spell(each, deep=True) for each in (*self.types.values(), self.result)]
        facts = [self.name, *self.types, *types, str(self.stream), str(self.options.oneway)]
        facts.append(str(self.options.idempotent))
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    @cached_property
    def arguments_codec(self) -> Codec:
        return Codec(tuple(self.types.values()), of_tuple=True)

    @cached_property
    def result_codec(self) -> Codec:
        return Codec(self.result)

    def adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The method as a function of its arguments in the order of the parameters: those that
        are keyword-only as well. TypeError for a function that cannot be called so."""
        self._check(function)
        kinds = [each.kind for each in self.parameters.parameters.values()]
        names = list(self.types)[-kinds.count(inspect.Parameter.KEYWORD_ONLY) or len(kinds) :]
        if not names:
            return function
        at = len(kinds) - len(names)
        return lambda *args: function(*args[:at], **dict(zip(names, args[at:], strict=True)))

    def _check(self, function: Callable[..., Any]) -> None:
        """TypeError for an override that is not called as the marked method is."""
        where = getattr(function, "__qualname__", repr(function))
        if is_async(function) and not self.asynchronous:
            raise TypeError(f"{where} is async, but {self.text} is not; mark it @rpc.method, too")
        named = [
            name
            for name, each in self.parameters.parameters.items()
            if each.kind is each.KEYWORD_ONLY
        ]
        try:
            parameters = inspect.signature(function)
        except ValueError:  # One in C, which has none.
            return
        try:
            ordered = len(self.types) - len(named)
            parameters.bind(*[None] * ordered, **dict.fromkeys(named))
        except TypeError as error:
            raise TypeError(f"{where} is not called as {self.text}: {error}") from None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in the order of the parameters; TypeError as for a local call."""
        try:
            bound = self.parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())


@dataclass(frozen=True, eq=False)
class Interface:
    """The marked methods of a class, with their numbers on the wire."""

    name: str
    version: str
    doc: str
    methods: dict[str, Signature]

    def number(self, name: str) -> int:
        """The method's number on the wire, from 1."""
        return list(self.methods).index(name) + 1


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether it is a coroutine function or an asynchronous generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
