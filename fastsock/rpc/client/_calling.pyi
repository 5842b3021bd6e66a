import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

from fastsock.client import Client
from fastsock.core._lock import Lock
from fastsock.core.flag import Flag
from fastsock.rpc.client.attendant import Attendant
from fastsock.rpc.client.calls import Call
from fastsock.rpc.client.connector import Connector, Settings
from fastsock.rpc.client.link import Link
from fastsock.rpc.interface import Signature
from fastsock.rpc.wire._body import Body

SEND_SECONDS: float

def deadline_now() -> float | None: ...
def receive_from(client: Client, timeout: float) -> list[bytes]: ...

class CallCore:
    body: bytes | list[memoryview]
    link: Link | None
    sent_at: int | None
    reply: tuple[int, int, Any] | None
    outcome: tuple[Any, BaseException | None] | None
    event: Flag | None
    callbacks: list[Callable[[Any], object]] | None
    waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] | None
    assembly: Body | None
    metadata: bytes
    id: int
    flags: int
    moves: int
    moving: bool
    finished: bool
    attended: bool
    def __new__(
        cls,
        connector: ConnectorCore,
        signature: Signature,
        arguments: tuple[Any, ...],
        deadline: float | None,
    ) -> Self: ...
    @property
    def connector(self) -> Connector: ...
    @property
    def signature(self) -> Signature: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def resendable(self) -> bool: ...
    def is_late(self) -> bool: ...
    def end(
        self,
        reply: tuple[int, int, Any] | None,
        outcome: tuple[Any, BaseException | None] | None,
    ) -> bool: ...

class LinkCore:
    numbers: dict[str, int]
    silent_since: float | None
    pinged_at: float | None
    next_id: int
    uncredited: int
    dead: bool
    leader: int
    left: bool
    useful: bool
    attendant: Attendant
    def __new__(cls, connector: ConnectorCore, client: Client, *_: Any) -> Self: ...
    @property
    def connector(self) -> Connector: ...
    @property
    def client(self) -> Client: ...
    @property
    def lock(self) -> Lock: ...
    @property
    def sending(self) -> Lock: ...
    @property
    def outgoing(self) -> deque[tuple[bytes, Call[Any] | None]]: ...
    @property
    def transfers(self) -> deque[tuple[Iterator[list[memoryview]], Call[Any]]]: ...
    @property
    def unstarted(self) -> deque[Call[Any]]: ...
    @property
    def pending(self) -> dict[int, Call[Any]]: ...
    @property
    def followers(self) -> dict[Any, None]: ...
    @property
    def abandoned(self) -> set[int]: ...
    @property
    def answered(self) -> list[int]: ...
    def _renew(self, attendant: Attendant) -> None: ...
    def take(self, frames: list[bytes]) -> None: ...
    def receive(self, timeout: float) -> list[bytes]: ...
    def end_wait(self, waiter: Any, led: bool) -> None: ...
    def credit(self, size: int) -> None: ...
    def acknowledge(self, call: int) -> None: ...

class ConnectorCore:
    link: Link
    woken: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]
    call_class: type[Call[Any]]
    def __new__(cls, settings: Settings, *_: Any) -> Self: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def ending(self) -> Lock: ...
    def _renew(self) -> None: ...
    def make(
        self, kind: type, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any: ...
    def call(self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...

class BoundCore:
    def __new__(cls, connector: ConnectorCore, signature: Signature) -> Self: ...
    @property
    def _connector(self) -> Connector: ...
    @property
    def _signature(self) -> Signature: ...

class CallableCore(BoundCore):
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
