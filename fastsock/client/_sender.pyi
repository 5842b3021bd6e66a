from collections.abc import Iterable

from typing_extensions import Buffer

from fastsock.client._stream import Stream

class Sender(Stream):
    def send(self, data: Buffer, *, timeout: float | None = None) -> None: ...
    def send_many(self, messages: Iterable[Buffer], *, timeout: float | None = None) -> None: ...
    def send_gathered(
        self, messages: Iterable[Iterable[Buffer]], *, timeout: float | None = None
    ) -> None: ...
