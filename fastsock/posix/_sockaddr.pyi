from os import PathLike
from typing import Any, TypeAlias

from fastsock.posix._buffers import Buffer

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes | PathLike[str]

def pack_address(address: Address) -> bytes: ...
def unpack_address(packed: Buffer) -> Any: ...
