"""The order of a benchmark: every peer is checked, then comes repeat after repeat of all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from benchmarks.harness.errors import BenchmarkError, Unavailable

Run = TypeVar("Run")


@dataclass
class Rounds(Generic[Run]):
    """What came of each peer: its checked run and its timed ones, or the reason why not."""

    checked: dict[str, Run] = field(default_factory=dict)
    timed: dict[str, list[Run]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def interleave(
    peers: list[str],
    repeats: int,
    run: Callable[[str, bool], Run],
    report: Callable[[str], None],
) -> Rounds[Run]:
    """Calls `run(peer, check)` once to check each peer, then `repeats` times to time it.

    Repeats go forwards and backwards by turns, so that what disturbs the machine for a while
    disturbs all peers, and no peer always comes after the same one.
    A peer that raises is left out from there on. `report` is told before each run what comes.
    """
    rounds: Rounds[Run] = Rounds()

    def attempt(peer: str, check: bool) -> Run | None:
        if peer in rounds.absent or peer in rounds.failed:
            return None
        try:
            return run(peer, check)
        except Unavailable as error:
            rounds.absent[peer] = str(error)
        except BenchmarkError as error:
            rounds.failed[peer] = str(error)
            rounds.timed.pop(peer, None)
        return None

    for peer in peers:
        report(f"checking {peer}")
        if (checked := attempt(peer, True)) is not None:
            rounds.checked[peer] = checked
    for repeat in range(1, repeats + 1):
        for peer in peers if repeat % 2 else reversed(peers):
            report(f"{peer}, {repeat} of {repeats}")
            if (timed := attempt(peer, False)) is not None:
                rounds.timed.setdefault(peer, []).append(timed)
    return rounds
