"""Interfaces: classes whose marked methods can be called remotely, and how they are marked."""

import collections.abc
import inspect
import keyword
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import lru_cache
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

from fastsock.rpc.client.bound import BoundMethod, BoundStream
from fastsock.rpc.signature import Interface, Options, Signature, is_async
from fastsock.rpc.values.sendable import check_sendable
from fastsock.rpc.values.types_text import spell

__all__ = ["Method", "Service", "StreamMethod", "interface_of", "method"]

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
        if inline and (is_async(function) or _streams(function)):
            raise TypeError(f"{function.__qualname__}: a coroutine or a stream cannot be inline")
        return (StreamMethod if _streams(function) else Method)(function, options)

    return mark if function is None else mark(function)


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


@lru_cache(maxsize=256)
def interface_of(described: type) -> Interface:
    """Return the interface of a class. TypeError if it cannot be one."""
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
        asynchronous=is_async(function),
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
