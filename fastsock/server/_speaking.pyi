from collections.abc import Iterable

from typing_extensions import Buffer

from fastsock.server._connection import Connection, Host

class Speaking(Host):
    def broadcast(
        self,
        data: Buffer,
        *,
        exclude: Connection | None = None,
        timeout: float | None = None,
    ) -> int: ...
    def broadcast_many(
        self, messages: Iterable[Buffer], *, timeout: float | None = None
    ) -> int | None: ...
    def send(
        self, conn: Connection | int, data: Buffer, *, timeout: float | None = None
    ) -> bool: ...
    def connection(self, number: int) -> Connection: ...
