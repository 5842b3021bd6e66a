"""The service that the RPC tests call."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import numpy as np
from conftest import WAIT

from fastsock import rpc


class Overdrawn(Exception):
    """What ``take`` declares."""


class Locked(Overdrawn):
    """What ``take`` raises of it for an amount of 13."""


class Shop(rpc.Service):
    """Methods of each kind."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.contexts: list[rpc.Context] = []
        self.gate = threading.Event()
        self.barrier: threading.Barrier | None = None

    @rpc.method(inline=True)
    def add(self, a: float, b: float = 1.0) -> float:
        """The sum."""
        return a + b

    @rpc.method
    def pooled(self, value: int) -> int:
        self.begun.append(f"pooled {value}")
        return value

    @rpc.method(inline=True)
    def record(self, name: str) -> int:
        self.begun.append(name)
        return len(self.begun)

    @rpc.method(oneway=True)
    def log(self, line: str) -> None:
        if line == "raise":
            raise ValueError(line)
        self.begun.append(line)

    @rpc.method(oneway=True)
    def log_slowly(self, line: str) -> None:
        self.gate.wait(WAIT)
        self.begun.append(line)

    @rpc.method
    def wait(self, name: str) -> str:
        """Until the gate is open, or the call is cancelled."""
        context = rpc.current()
        self.contexts.append(context)
        self.begun.append(name)
        while not self.gate.is_set() and not context.wait_cancelled(0.01):
            pass
        self.ended.append(f"{name} {'cancelled' if context.cancelled else 'done'}")
        return name

    @rpc.method
    def hold(self, name: str) -> str:
        """As ``wait``, but it returns when the gate is open only."""
        self.contexts.append(rpc.current())
        self.begun.append(name)
        if rpc.current().wait_cancelled(WAIT):
            self.ended.append(f"{name} cancelled")
        self.gate.wait(WAIT)
        return name

    @rpc.method(idempotent=True)
    def again(self, name: str) -> str:
        self.begun.append(name)
        self.gate.wait(WAIT)
        return name

    @rpc.method
    async def sleep(self, seconds: float, name: str = "") -> str:
        self.contexts.append(rpc.current())
        self.begun.append(name)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.ended.append(f"{name} cancelled")
            raise
        self.ended.append(f"{name} done")
        return name

    @rpc.method
    def meet(self, number: int) -> int:
        """Returns when all others are here as well."""
        assert self.barrier is not None
        self.barrier.wait(WAIT)
        return number

    @rpc.method
    def count(self, end: int, fail_at: int = -1, size: int = 0) -> Iterator[tuple[int, bytes]]:
        self.contexts.append(rpc.current())
        try:
            for number in range(end):
                if number == fail_at:
                    raise Overdrawn(number)
                self.begun.append(f"count {number}")
                yield number, bytes(size)
        finally:
            self.ended.append("count")

    @rpc.method
    async def tick(self, end: int) -> AsyncIterator[int]:
        self.contexts.append(rpc.current())
        try:
            for number in range(end):
                yield number
                self.begun.append(f"tick {number}")
        finally:
            self.ended.append("tick")

    @rpc.method(raises=[Overdrawn])
    def take(self, amount: int) -> None:
        if amount == 13:
            raise Locked(amount)
        if amount > 100:
            raise Overdrawn(amount, "too much")
        raise KeyError(f"no account for {amount}")

    @rpc.method
    def echo(self, data: bytes) -> bytes:
        return data

    @rpc.method
    def blob(self, size: int) -> bytes:
        return bytes(size)

    @rpc.method
    def double(self, x: np.ndarray) -> np.ndarray:
        return 2 * x

    @rpc.method
    def told(self) -> dict[str, str]:
        """The call's metadata."""
        return dict(rpc.current().metadata)
