"""The methods of a stub."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from fastsock.rpc.client._calling import BoundCore, CallableCore
from fastsock.rpc.client.calls import Call, Stream
from fastsock.rpc.signature import Signature

if TYPE_CHECKING:
    from fastsock.rpc.client.connector import Connector

__all__ = ["BoundMethod", "BoundStream"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class BoundMethod(CallableCore, Generic[P, R]):
    """A method of a stub: call it, ``begin`` it, or await its ``aio``."""

    _connector: "Connector"

    def __init__(self, connector: "Connector", signature: Signature) -> None:
        self.__name__ = signature.name
        self.__doc__ = signature.doc

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def begin(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Calls it without waiting; the answers of several calls come in any order."""
        return self._connector.begin(self._signature, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Calls it from a coroutine: ``await stub.method.aio(...)``. It begins when it is awaited;
        cancelling the task cancels it at the server."""
        return self._connector.call_async(self._signature, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._signature.text}>"


class BoundStream(BoundCore, Generic[P, T]):
    """A streaming method of a stub."""

    _connector: "Connector"

    def __init__(self, connector: "Connector", signature: Signature) -> None:
        self.__name__ = signature.name
        self.__doc__ = signature.doc

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """Call it; return the :class:`Stream` of its items."""
        return self._connector.stream(self._signature, args, kwargs)

    def begin(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """The same, under the name that other methods have it."""
        return self._connector.stream(self._signature, args, kwargs)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """The same, for ``async for``; it begins with the first item that is asked for."""
        return self._connector.stream_async(self._signature, args, kwargs)

    def __repr__(self) -> str:
        return f"<remote method {self._signature.text}>"
