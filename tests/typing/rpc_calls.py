"""What mypy --strict makes of remote calls; an ignore that is not needed is an error."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, assert_type

import numpy as np
import numpy.typing as npt

from fastsock import rpc


@dataclass
class Account:
    owner: str
    balance: int = 0


class Overdrawn(Exception):
    """What ``take`` declares."""


class Bank(rpc.Service):
    @rpc.method
    def open(self, owner: str, *, deposit: int = 0) -> Account:
        return Account(owner, deposit)

    @rpc.method(inline=True, idempotent=True)
    def rate(self, days: float, factor: float = 1.0) -> float:
        return days * factor

    @rpc.method(raises=[Overdrawn])
    async def take(self, owner: str, amount: int) -> int:
        raise Overdrawn(owner, amount)

    @rpc.method(oneway=True)
    def note(self, line: str) -> None: ...

    @rpc.method
    def accounts(self, first: str = "") -> Iterator[Account]:
        yield Account(first)

    @rpc.method
    async def ticks(self, count: int) -> AsyncIterator[float]:
        for number in range(count):
            yield float(number)

    @rpc.method
    def totals(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return x


class HasRate(Protocol):
    @rpc.method(inline=True, idempotent=True)
    def rate(self, days: float, factor: float = 1.0) -> float: ...


class Listing(ABC):
    @rpc.method
    @abstractmethod
    def accounts(self, first: str = "") -> Iterator[Account]: ...


def three_forms(bank: Bank) -> None:
    assert_type(bank.open("ann"), Account)
    assert_type(bank.open("ann", deposit=3), Account)
    assert_type(bank.open.begin("ann"), rpc.Call[Account])
    assert_type(bank.open.begin("ann").result(), Account)
    assert_type(bank.open.begin("ann").exception(1.0), BaseException | None)
    coroutine: Coroutine[Any, Any, Account] = bank.open.aio("ann")
    coroutine.close()
    assert_type(bank.rate(1, factor=2), float)
    assert_type(bank.note("line"), None)
    assert_type(bank.totals(np.zeros(3)), npt.NDArray[np.float64])


def a_coroutine_is_called_as_any_method(bank: Bank) -> None:
    assert_type(bank.take("ann", 3), int)
    assert_type(bank.take.begin("ann", 3), rpc.Call[int])


async def awaited(bank: Bank) -> None:
    assert_type(await bank.take.aio("ann", 3), int)
    assert_type(await bank.open.begin("ann"), Account)
    async for account in bank.accounts.aio("a"):
        assert_type(account, Account)
    async for tick in bank.ticks.aio(3):
        assert_type(tick, float)


def streams(bank: Bank) -> None:
    assert_type(bank.accounts(first="a"), rpc.Stream[Account])
    assert_type(bank.ticks(3), rpc.Stream[float])
    assert_type(bank.accounts.aio(), rpc.Stream[Account])
    items: Iterator[Account] = bank.accounts()
    later: AsyncIterator[Account] = bank.accounts.aio()
    print(items, later)
    bank.accounts().close()
    with bank.accounts.begin() as stream:
        assert_type(stream, rpc.Stream[Account])
        for account in stream:
            assert_type(account, Account)


def wrong_calls(bank: Bank) -> None:
    bank.open(3)  # type: ignore[arg-type]
    bank.open("ann", 3)  # type: ignore[call-arg]
    bank.open.begin("ann", depozit=3)  # type: ignore[call-arg]
    bank.open.aio().close()  # type: ignore[call-arg]
    bank.rate("3")  # type: ignore[arg-type]
    bank.take.begin("ann", "3")  # type: ignore[arg-type]
    bank.accounts(3)  # type: ignore[arg-type]
    bank.accounts.begin(first=3)  # type: ignore[arg-type]
    bank.nothing()  # type: ignore[attr-defined]


def wrong_marks() -> None:
    rpc.method(fast=True)  # type: ignore[call-overload]
    rpc.method(raises=[3])  # type: ignore[list-item]


def both_ends() -> None:
    with rpc.serve(Bank(), ("127.0.0.1", 0), threads_max=4) as server:
        assert_type(server, rpc.Server)
        assert_type(server.address, tuple[str, int] | str)
        with rpc.connect(Bank, server.address, timeout=5) as bank:
            assert_type(bank, Bank)
            three_forms(bank)
    rpc.serve(Bank(), [("::1", 0), Path("/tmp/bank")])
    rpc.serve(Bank(), interceptors=[lambda context, proceed: proceed()])
    rpc.connect(Bank, "/tmp/bank", interceptors=[lambda call: call.add_done_callback(print)])
    rpc.connect(Bank, matchmaker=("127.0.0.1", 7411))
    rpc.connect(Bank, 7411)  # type: ignore[arg-type]


def other_interfaces() -> None:
    rated = rpc.connect(HasRate, ("127.0.0.1", 7000))
    assert_type(rated, HasRate)
    assert_type(rated.rate(1.0), float)
    assert_type(rated.rate.begin(1.0), rpc.Call[float])
    listing = rpc.connect(Listing, ("127.0.0.1", 7000))
    assert_type(listing.accounts(), rpc.Stream[Account])
    rpc.close(rated)


def context() -> None:
    with rpc.deadline(0.5), rpc.metadata(user="ann"):
        current = rpc.current()
    assert_type(current.metadata["user"], str)
    assert_type(current.remaining, float | None)
    assert_type(current.cancelled, bool)
    assert_type(current.wait_cancelled(1.0), bool)
