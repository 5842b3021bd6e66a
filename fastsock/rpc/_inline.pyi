import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, final

from fastsock._connection import Connection
from fastsock._lock import Lock
from fastsock.rpc.context import Context
from fastsock.rpc.interface import Signature

def answer_frame(kind: int, flags: int, call: int, body: bytes) -> bytes: ...
def deadline_of(remaining_us: int) -> float | None: ...

class ContextCore:
    _cancelled: threading.Event | None
    _callbacks: list[Callable[[], object]] | None
    _stream: Callable[[int, int], object] | None
    def __init__(
        self,
        peer: tuple[str, int] | str,
        method: str,
        metadata: Mapping[str, str],
        deadline: float | None,
    ) -> None: ...
    @property
    def peer(self) -> tuple[str, int] | str: ...
    @property
    def method(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def deadline(self) -> float | None: ...

class OutgoingCore:
    window: int
    def __init__(self, conn: Connection) -> None: ...
    @property
    def conn(self) -> Connection: ...
    @property
    def lock(self) -> Lock: ...
    @property
    def waiting(self) -> deque[Iterator[bytes]]: ...
    def put(self, frame: bytes) -> None: ...
    def send(self, frame: bytes) -> None: ...

class SessionCore:
    outgoing: Any
    peer: tuple[str, int] | str
    highest: int
    kept_bytes: int
    def __init__(self, metadata: Mapping[str, str]) -> None: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def lock(self) -> Lock: ...
    @property
    def running(self) -> dict[int, Any]: ...
    @property
    def kept(self) -> dict[int, tuple[int, int, Any, int]]: ...
    @property
    def incomplete(self) -> set[int]: ...
    def seen(self, number: int) -> bool: ...
    def keep(self, call: int, kind: int, flags: int, body: Any, size: int) -> None: ...

@final
class InlineMethod:
    def __init__(self, signature: Signature, function: Callable[..., Any]) -> None: ...

@final
class InlineCalls:
    def __init__(
        self,
        methods: dict[int, InlineMethod],
        calls_max: int,
        *,
        receive: Callable[[Connection, bytes], object],
        end: Callable[[Any, Any, bytes | None, BaseException | None], object],
        make_call: Callable[..., Any],
        make_context: type[Context],
        current: ContextVar[Context],
    ) -> None: ...
    def close(self) -> None: ...
    def __call__(self, conn: Connection, frame: bytes) -> None: ...
