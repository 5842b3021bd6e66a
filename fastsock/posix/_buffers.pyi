"""What the stubs call a buffer; there is no such module at run time."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt
from typing_extensions import Buffer as _Buffer

# numpy tells type checkers of its buffers only from Python 3.12 on.
Buffer: TypeAlias = _Buffer | npt.NDArray[Any]
Buffers: TypeAlias = Buffer | Sequence[Buffer]
