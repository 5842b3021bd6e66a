"""fastsock.rpc from coroutines: the same server, awaited calls, many of them gathered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.rpc.fastsock import Bench, serve
from fastsock import rpc

__all__ = ["connect", "serve"]


@asynccontextmanager
async def connect(port: int, case: str) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    stub = rpc.connect(Bench, ("127.0.0.1", port), timeout=30)

    async def pipelined(numbers: list[int]) -> list[int]:
        return await asyncio.gather(*(stub.following.aio(number) for number in numbers))

    calls = {
        "null": lambda _: stub.null.aio(),
        "pooled": lambda _: stub.pooled.aio(),
        "pipelined": pipelined,
        "array": stub.array.aio,
    }
    try:
        yield calls[case]
    finally:
        stub.close()
