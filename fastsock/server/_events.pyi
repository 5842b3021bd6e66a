from enum import StrEnum
from typing import final

from fastsock.server._connection import Connection

class Reason(StrEnum):
    PEER = "closed by peer"
    RESET = "reset by peer"
    LOCAL = "closed by this program"
    SERVER = "server closed"
    SLOW = "slow consumer"
    TOO_BIG = "message too big"
    HANDLER = "handler failed"
    MEMORY = "out of memory or descriptors"
    IDLE = "idle timeout"
    UNFINISHED = "unfinished message"
    FRAMING = "message too big: the peer speaks another framing"

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
