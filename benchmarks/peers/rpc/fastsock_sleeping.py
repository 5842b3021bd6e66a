"""fastsock.rpc whose client sleeps at once, as the others do, instead of looking first."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.peers.rpc import fastsock
from benchmarks.peers.rpc.fastsock import serve

__all__ = ["connect", "serve"]


def connect(port: int, case: str) -> AbstractContextManager[Callable[[Any], Any]]:
    return fastsock.connect(port, case, microseconds=0)
