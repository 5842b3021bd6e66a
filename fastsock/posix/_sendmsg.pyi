from collections.abc import Iterable
from typing import Any, TypeAlias

from fastsock.posix._buffers import Buffer
from fastsock.posix._sockaddr import Address
from fastsock.posix.flags import MsgFlag

_Ancillary: TypeAlias = Iterable[tuple[int, int, Buffer]]
_Received: TypeAlias = list[tuple[int, int, bytes]]

def sendmsg(
    fd: int,
    buffers: Iterable[Buffer],
    ancillary: _Ancillary = (),
    flags: int = 0,
    address: Address | None = None,
) -> int: ...
def recvmsg(
    fd: int, size: int, ancillary_size: int = 0, flags: int = 0
) -> tuple[bytes, _Received, MsgFlag, Any]: ...
def recvmsg_into(
    fd: int, buffers: Iterable[Buffer], ancillary_size: int = 0, flags: int = 0
) -> tuple[int, _Received, MsgFlag, Any]: ...
