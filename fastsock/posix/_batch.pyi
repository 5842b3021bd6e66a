from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

from fastsock.posix._buffers import Buffer, Buffers
from fastsock.posix._sockaddr import Address

_Out = TypeVar("_Out", bound=Buffer)

@overload
def send_each(
    fds: Buffer, data: Buffers, flags: int = ..., *, out: None = None
) -> npt.NDArray[np.int64]: ...
@overload
def send_each(fds: Buffer, data: Buffers, flags: int = ..., *, out: _Out) -> _Out: ...
@overload
def recv_each(
    fds: Buffer, buffers: Buffers, flags: int = ..., *, out: None = None
) -> npt.NDArray[np.int64]: ...
@overload
def recv_each(fds: Buffer, buffers: Buffers, flags: int = ..., *, out: _Out) -> _Out: ...
def sendmmsg(
    fd: int,
    buffers: Buffers,
    lengths: Buffer | None = None,
    addresses: Address | Buffer | None = None,
    flags: int = 0,
) -> int: ...
def recvmmsg(
    fd: int,
    buffers: Buffers,
    lengths: Buffer,
    addresses: Buffer | None = None,
    segments: Buffer | None = None,
    flags: int = ...,
) -> int: ...
