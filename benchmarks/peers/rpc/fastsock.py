"""fastsock.rpc: synchronous calls, and many begun at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.ends import rpc_server
from fastsock import rpc

BUSY_POLL_US = 1_000_000
"""So long that a busy run never sleeps."""


class Bench(rpc.Service):
    @rpc.method(inline=True)
    def null(self) -> None:
        return None

    @rpc.method
    def pooled(self) -> None:
        return None

    @rpc.method(inline=True)
    def following(self, number: int) -> int:
        return number + 1

    @rpc.method(inline=True)
    def array(self, x: np.ndarray) -> np.ndarray:
        return x


servers: list[rpc.Server] = []
"""They serve until the process ends: one that nobody keeps is closed."""


def listen(case: str) -> int:
    microseconds = BUSY_POLL_US if case == "busy" else 0
    servers.append(rpc.serve(Bench(), busy_poll_us=microseconds))
    port: int = servers[-1].address[1]
    return port


@contextmanager
def connect(
    port: int, case: str, microseconds: int | None = None
) -> Iterator[Callable[[Any], Any]]:
    if case == "busy":
        microseconds = BUSY_POLL_US
    stub = rpc.connect(Bench, ("127.0.0.1", port), timeout=30, busy_poll_us=microseconds)

    def pipelined(numbers: list[int]) -> list[int]:
        calls = [stub.following.begin(number) for number in numbers]
        return [call.result() for call in calls]

    calls = {
        "null": lambda _: stub.null(),
        "busy": lambda _: stub.null(),
        "pooled": lambda _: stub.pooled(),
        "pipelined": pipelined,
        "array": stub.array,
    }
    try:
        yield calls[case]
    finally:
        stub.close()


def serve() -> None:
    rpc_server.serve(listen)
