"""Interfaces: classes whose marked methods can be called from afar, and what is known of each."""

import collections.abc
import hashlib
import inspect
import keyword
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

import msgspec

from fastsock.rpc.client.calls import BoundMethod, BoundStream
from fastsock.rpc.values.marshal import Codec
from fastsock.rpc.values.sendable import check_sendable
from fastsock.rpc.values.types_text import default_text, spell

__all__ = ["Interface", "Method", "Service", "Signature", "StreamMethod", "method"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

STREAMS = {
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
}

METHODS_MAX = 1 << 15


@dataclass(frozen=True)
class Options:
    """What :func:`method` was told."""

    inline: bool = False
    oneway: bool = False
    idempotent: bool = False
    raises: tuple[type[Exception], ...] = ()


class Marked:
    """A method that is marked for remote calls. In a service it is the plain method; in a stub, a
    remote one."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    @property
    def __isabstractmethod__(self) -> bool:
        return getattr(self.function, "__isabstractmethod__", False)

    def bound(self, instance: object | None, owner: type) -> Any:
        """What ``instance.method`` is, where that is no stub."""
        return self if instance is None else self.function.__get__(instance, owner)


class Method(Marked, Generic[P, R]):
    """A marked method that returns one result."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> BoundMethod[P, R]: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self.bound(instance, owner)


class StreamMethod(Marked, Generic[P, T]):
    """A marked method that returns an iterator: its items are streamed."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> BoundStream[P, T]: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        return self.bound(instance, owner)


class Marker(Protocol):
    """What ``method(...)`` returns: a decorator."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Any, P], Iterator[T]]
    ) -> StreamMethod[P, T]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[Any, P], AsyncIterator[T]]
    ) -> StreamMethod[P, T]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
    ) -> Method[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R]) -> Method[P, R]: ...


@overload
def method(function: Callable[Concatenate[Any, P], Iterator[T]]) -> StreamMethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def method(function: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> StreamMethod[P, T]: ...  # type: ignore[overload-overlap]
@overload
def method(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> Method[P, R]: ...
@overload
def method(function: Callable[Concatenate[Any, P], R]) -> Method[P, R]: ...
@overload
def method(
    *,
    inline: bool = False,
    oneway: bool = False,
    idempotent: bool = False,
    raises: collections.abc.Sequence[type[Exception]] = (),
) -> Marker: ...
def method(
    function: Any = None,
    *,
    inline: bool = False,
    oneway: bool = False,
    idempotent: bool = False,
    raises: collections.abc.Sequence[type[Exception]] = (),
) -> Any:
    """Decorator: marks a method of a class for remote calls. All its parameters and its result are
    annotated; a result of ``Iterator[T]`` (or, of ``async def``, ``AsyncIterator[T]``) is a stream.

    inline      runs on the thread that serves all clients: for what is short and never blocks
    oneway      the caller waits for nothing; there is no result, and errors are logged
    idempotent  may run twice with the effect of once: it is called again after a lost connection
    raises      exceptions that reach the caller as themselves, with arguments and attributes

    Raises TypeError for options that do not fit together.
    """
    options = Options(inline, oneway, idempotent, tuple(raises))
    for error in options.raises:
        if not (isinstance(error, type) and issubclass(error, Exception)):
            raise TypeError(f"raises holds classes of exceptions, not {error!r}")
    named = {error.__name__: error for error in options.raises}
    for error in options.raises:
        if (other := named[error.__name__]) is not error:
            raise TypeError(f"raises holds two classes of one name, {error!r} and {other!r}")

    def mark(function: Callable[..., Any]) -> Marked:
        if not inspect.isfunction(function):
            raise TypeError(f"@rpc.method marks functions, not {function!r}")
        if inline and (_is_async(function) or _streams(function)):
            raise TypeError(f"{function.__qualname__}: a coroutine or a stream cannot be inline")
        return (StreamMethod if _streams(function) else Method)(function, options)

    return mark if function is None else mark(function)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _streams(function: Callable[..., Any]) -> bool:
    annotation = function.__annotations__.get("return")
    if isinstance(annotation, str):
        head = annotation.split("[")[0].rpartition(".")[2].strip()
        return head in {kind.__name__ for kind in STREAMS}
    return typing.get_origin(annotation) in STREAMS


class Service:
    """Base of classes whose marked methods are served, and called through stubs.

    ``rpc_name`` and ``rpc_version`` are what stub and server must agree on: by default the name of
    the first class of the line that has marked methods, and "1".
    """

    rpc_name: ClassVar[str]
    rpc_version: ClassVar[str] = "1"

    def close(self) -> None:
        """Of a stub: closes its connection. Of a service: does nothing, unless overridden."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        if _is_async(function) and not self.asynchronous:
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

    @classmethod
    def of(cls, described: type) -> "Interface":
        """The interface of a class; TypeError where it cannot be one."""
        return _interface(described)

    def number(self, name: str) -> int:
        """The method's number on the wire, from 1."""
        return list(self.methods).index(name) + 1


@lru_cache(maxsize=256)
def _interface(described: type) -> Interface:
    found: dict[str, Marked] = {}
    named = described.__name__
    for base in reversed(described.__mro__):
        marked = {name: each for name, each in vars(base).items() if isinstance(each, Marked)}
        if marked and not found:
            named = base.__name__
        found |= marked
    if not found:
        raise TypeError(f"{described.__qualname__} has no method that is marked @rpc.method")
    if len(found) > METHODS_MAX:
        raise TypeError(f"{described.__qualname__} has more than {METHODS_MAX} methods")
    return Interface(
        getattr(described, "rpc_name", named),
        getattr(described, "rpc_version", "1"),
        inspect.getdoc(described) or "",
        {name: _signature(described, found[name]) for name in sorted(found)},
    )


def _signature(owner: type, marked: Marked) -> Signature:
    function, where = marked.function, f"{owner.__qualname__}.{marked.__name__}"
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{where}: its annotations cannot be resolved: {error}") from None
    parameters = inspect.signature(function)
    parameters = parameters.replace(parameters=list(parameters.parameters.values())[1:])
    for name, each in parameters.parameters.items():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise TypeError(f"{where}: *{name} cannot be called from afar; name each parameter")
        if name not in hints:
            raise TypeError(f"{where}: parameter {name!r} has no annotation")
    if "return" not in hints:
        raise TypeError(f"{where}: its result has no annotation; -> None if there is none")
    result, stream = hints["return"], isinstance(marked, StreamMethod)
    if stream:
        result = (typing.get_args(result) or (Any,))[0]
    if marked.options.oneway and (stream or result is not type(None)):
        raise TypeError(f"{where}: a oneway method returns None")
    signature = Signature(
        name=marked.__name__,
        options=marked.options,
        parameters=parameters,
        types={name: hints[name] for name in parameters.parameters},
        result=result,
        stream=stream,
        asynchronous=_is_async(function),
        doc=inspect.getdoc(function) or "",
    )
    _check_types(where, signature)
    return signature


def _check_types(where: str, signature: Signature) -> None:
    if keyword.iskeyword(signature.name) or signature.name.startswith("__"):
        raise TypeError(f"{where}: this name cannot be called from afar")
    if signature.name in vars(Service):
        raise TypeError(f"{where}: a stub needs {signature.name} for itself; choose another name")
    for name, each in signature.types.items():
        _check_type(f"{where}: parameter {name!r}", each)
    _check_type(f"{where}: its result", signature.result)


def _check_type(where: str, type: Any) -> None:
    try:
        check_sendable(type)
        msgspec.msgpack.Decoder(type)
    except (TypeError, NameError, msgspec.MsgspecError) as error:
        raise TypeError(f"{where}: {spell(type)}: {error}") from None
