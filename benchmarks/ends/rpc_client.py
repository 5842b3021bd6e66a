"""The process of a peer's client: `python -m benchmarks.ends.rpc_client PEER PORT CASE ...`.

It connects, calls for WARM seconds, and then for S seconds, of which it prints one line of JSON:
{"calls": ..., "seconds": ..., "p50_us": ..., "p99_us": ..., "wrong": ...}. csrc/rpc_load.c does
the same for the bar.

    case                     a request             its answer
    null, pooled, busy       None                  None
    pipelined                a list of DEPTH ints  a list of the next ints, of as many calls
    array                    an array              an equal one

The call that a peer's `connect` gives takes a request and returns the answer, or awaits it.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks.ends.server import answer

ARRAY_ITEMS = 1_000_000
"""Of float64: 8 MB."""

UNANSWERED = object()


class Meter:
    """Hands out requests until the time is over, and takes the answer to each.

    Only what its user does with a request is timed, not the making of it nor the comparing.
    """

    def __init__(self, case: str, depth: int) -> None:
        self.answer: Any = UNANSWERED
        self._load: Any = LOADS.get(case, Nothing)(depth)
        self.latencies_ns: list[int] = []
        self.wrong = 0

    def requests(self, seconds: float) -> Iterator[Any]:
        """Each request has to be answered in `answer` before the next is taken."""
        self.latencies_ns, self.wrong = [], 0
        latencies_ns, load = self.latencies_ns, self._load
        ended = perf_counter_ns()
        until = ended + int(seconds * 1e9)
        while ended < until:
            request = load.make()
            begun = perf_counter_ns()
            yield request
            ended = perf_counter_ns()
            latencies_ns.append(ended - begun)
            self.wrong += not load.is_answer(request, self.answer)
            self.answer = UNANSWERED

    def report(self) -> dict[str, object]:
        """What there is to say of the last requests."""
        ordered = np.sort(np.array(self.latencies_ns))
        p50, p99 = (ordered[int(share * len(ordered))] / 1e3 for share in (0.5, 0.99))
        return {
            "calls": len(ordered) * self._load.calls,
            "seconds": float(ordered.sum()) / 1e9,
            "p50_us": p50,
            "p99_us": p99,
            "wrong": self.wrong,
        }


class Nothing:
    """None, and None back."""

    def __init__(self, depth: int) -> None:
        self.calls = 1

    def make(self) -> None:
        return None

    def is_answer(self, request: None, answer: object) -> bool:
        return answer is None


class Numbers:
    """Calls that are all under way at once, each with a number of its own."""

    def __init__(self, depth: int) -> None:
        self.calls = depth
        self._next = 0

    def make(self) -> list[int]:
        first = self._next
        self._next = (first + self.calls) % (1 << 30)
        return list(range(first, first + self.calls))

    def is_answer(self, request: list[int], answer: object) -> bool:
        return answer == [number + 1 for number in request]


class Array:
    """An array that differs each time."""

    def __init__(self, depth: int) -> None:
        self.calls = 1
        self._array = np.random.default_rng(1).random(ARRAY_ITEMS)

    def make(self) -> np.ndarray:
        self._array[:: ARRAY_ITEMS // 100] += 1
        return self._array

    def is_answer(self, request: np.ndarray, answer: object) -> bool:
        return (
            isinstance(answer, np.ndarray)
            and answer is not request
            and answer.dtype == request.dtype
            and np.array_equal(answer, request)
        )


LOADS: dict[str, type[Nothing] | type[Numbers] | type[Array]] = {
    "pipelined": Numbers,
    "array": Array,
}


def measure(call: Callable[[Any], Any], meter: Meter, seconds: float) -> None:
    for request in meter.requests(seconds):
        meter.answer = call(request)


async def measure_async(
    call: Callable[[Any], Awaitable[Any]], meter: Meter, seconds: float
) -> None:
    for request in meter.requests(seconds):
        meter.answer = await call(request)


def run(context: Any, meter: Meter, times: tuple[float, float]) -> None:
    with context as call:
        for seconds in times:
            measure(call, meter, seconds)


async def run_async(context: Any, meter: Meter, times: tuple[float, float]) -> None:
    async with context as call:
        for seconds in times:
            await measure_async(call, meter, seconds)


def main() -> None:
    """Measures what the command line says."""
    peer, port, case, depth, warm, seconds = sys.argv[1:]
    module = import_module(f"benchmarks.peers.rpc.{peer.replace('-', '_')}")
    context = module.connect(int(port), case)
    meter, times = Meter(case, int(depth)), (float(warm), float(seconds))
    try:
        if hasattr(context, "__aenter__"):
            asyncio.run(run_async(context, meter, times))
        else:
            run(context, meter, times)
    except Exception as error:
        # Some peers have errors of many lines, of which the last one says nothing.
        raise SystemExit(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    answer(**meter.report())


if __name__ == "__main__":
    main()
