from typing import final

from fastsock.server._connection import Connection
from fastsock.server.reason import Reason

class Event:
    @property
    def conn(self) -> Connection: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Connected(Event):
    __match_args__ = ("conn",)
    def __init__(self, conn: Connection) -> None: ...

@final
class Message(Event):
    __match_args__ = ("conn", "data")
    def __init__(self, conn: Connection, data: bytes) -> None: ...
    @property
    def data(self) -> bytes: ...

@final
class Gap(Event):
    __match_args__ = ("conn", "channel", "lost")
    def __init__(self, conn: Connection, channel: str, lost: int) -> None: ...
    @property
    def channel(self) -> str: ...
    @property
    def lost(self) -> int: ...

@final
class Disconnected(Event):
    __match_args__ = ("conn", "reason")
    def __init__(self, conn: Connection, reason: str) -> None: ...
    @property
    def reason(self) -> Reason: ...
