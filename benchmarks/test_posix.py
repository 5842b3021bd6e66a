"""The cases of `python -m benchmarks.posix` as pytest-benchmark groups, one for each case.

A round is the case's operations all together; the loops in C pay for their call from Python here,
which the command leaves out. The case beside a busy thread is for the command alone: what happens
between two rounds decides there whose turn it is.
"""

import pytest

from benchmarks.posix_cases import CASES

ROUNDS = 200


def contenders() -> list[tuple[str, str]]:
    """Every case with each of its contenders."""
    found = []
    for name in CASES.keys() - {"busy"}:
        with CASES[name]() as case:
            found += [(name, contender) for contender in case.contenders]
    return sorted(found)


@pytest.mark.parametrize(("name", "contender"), contenders())
def test_posix(benchmark, name, contender):
    with CASES[name]() as case:
        benchmark.group = f"{case.name}: {case.count} operations of 64 bytes"
        benchmark.pedantic(
            case.contenders[contender],
            setup=case.before,
            teardown=case.after,
            rounds=ROUNDS,
        )
