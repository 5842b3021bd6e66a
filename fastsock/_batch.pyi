from collections.abc import Sequence
from typing import TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from fastsock._address import Address

_Out = TypeVar("_Out", bound=Buffer)
_Buffers: TypeAlias = Buffer | Sequence[Buffer]

@overload
def send_each(
    fds: Buffer, data: _Buffers, flags: int = ..., *, out: None = None
) -> npt.NDArray[np.int64]: ...
@overload
def send_each(fds: Buffer, data: _Buffers, flags: int = ..., *, out: _Out) -> _Out: ...
@overload
def recv_each(
    fds: Buffer, buffers: _Buffers, flags: int = ..., *, out: None = None
) -> npt.NDArray[np.int64]: ...
@overload
def recv_each(fds: Buffer, buffers: _Buffers, flags: int = ..., *, out: _Out) -> _Out: ...
def sendmmsg(
    fd: int,
    buffers: _Buffers,
    lengths: Buffer | None = None,
    addresses: Address | Buffer | None = None,
    flags: int = 0,
) -> int: ...
def recvmmsg(
    fd: int,
    buffers: _Buffers,
    lengths: Buffer,
    addresses: Buffer | None = None,
    segments: Buffer | None = None,
    flags: int = ...,
) -> int: ...
