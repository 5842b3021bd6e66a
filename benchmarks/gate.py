"""Fails where a ratio fell below its floor (floors.toml): `python -m benchmarks.gate --help`.

Only ratios to a peer of the same run are judged, never times: those are the machine's. A command
with a ratio that fails is run once more, and only what fails twice fails the gate: a neighbour's
burst of work hits one of two runs far apart, a regression hits both.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import floors, options, runs, table
from benchmarks.errors import BenchmarkError
from benchmarks.floors import Case, Judgement, Verdict

Command = tuple[str, ...]
Run = Callable[[Command], list[dict[str, Any]]]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = options.Parser(prog="gate", description=__doc__, allow_abbrev=False)
    parser.add_argument("--floors", type=Path, default=floors.FILE, metavar="FILE")
    return parser.parse_args(argv)


def measure(cases: Sequence[Case], run: Run) -> list[Judgement]:
    """Runs each command once, and those of a failed ratio once more; the second run counts."""
    judged: list[Judgement] = []
    for command in dict.fromkeys(case.command for case in cases):
        here = [case for case in cases if case.command == command]
        found = _judged(here, run(command))
        if _failed(found):
            print(f"gate: below a floor, once more: {' '.join(command)}")
            found = _better(found, _judged(here, run(command)))
        judged += found
    return judged


def _judged(cases: Sequence[Case], rows: list[dict[str, Any]]) -> list[Judgement]:
    return [judgement for case in cases for judgement in floors.judge(case, rows)]


def _failed(judged: Sequence[Judgement]) -> list[Judgement]:
    return [judgement for judgement in judged if judgement.verdict is Verdict.FAILED]


def _better(first: Sequence[Judgement], second: Sequence[Judgement]) -> list[Judgement]:
    """What failed at first, as it came the second time; the rest as it was."""
    return [
        new if old.verdict is Verdict.FAILED else old
        for old, new in zip(first, second, strict=True)
    ]


def show(judged: Sequence[Judgement]) -> None:
    """Prints a line for each ratio."""
    headings = ["case", "ratio", "measured", "floor", "verdict"]
    table.show("gate: median ratios within one run", headings, [_line(one) for one in judged], {})


def _line(one: Judgement) -> list[str]:
    kind = "at most" if one.ratio.ceiling else "at least"
    bound = f"{kind} {table.digits(one.ratio.bound)}"
    verdict = "FAILED" if one.verdict is Verdict.FAILED else one.verdict
    return [one.case.title, one.ratio.field, table.digits(one.value), bound, verdict]


def main(argv: list[str] | None = None, run: Run = runs.run) -> int:
    """Returns 0, or 1 if a ratio is below its floor, a command failed, or nothing was judged."""
    chosen = parse(argv)
    try:
        judged = measure(floors.load(chosen.floors), run)
    except BenchmarkError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gate: interrupted", file=sys.stderr)
        return 130
    show(judged)
    failed = _failed(judged)
    passed = [one for one in judged if one.verdict is Verdict.PASSED]
    if failed or not passed:
        problem = f"{len(failed)} of {len(judged)} ratios below their floors, twice"
        print(f"gate: {problem if failed else 'no ratio could be judged'}", file=sys.stderr)
        return 1
    print(f"gate: {len(passed)} of {len(judged)} ratios judged, all above their floors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
