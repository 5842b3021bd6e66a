"""Fails where a ratio fell below its floor (floors.toml): `python -m benchmarks.gate --help`.

Only ratios to a peer of the same run are judged, never times: those are the machine's. A command
with a ratio that fails is run once more, and only what fails twice fails the gate: a neighbour's
burst of work hits one of two runs far apart, a regression hits both.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import floors
from benchmarks.floors import Case, Judgement, Verdict
from benchmarks.harness import options, runs, table
from benchmarks.harness.errors import BenchmarkError

Command = tuple[str, ...]
Run = Callable[[Command], runs.Outcome]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = options.Parser(prog="gate", description=__doc__, allow_abbrev=False)
    parser.add_argument("--floors", type=Path, default=floors.FILE, metavar="FILE")
    return parser.parse_args(argv)


# ---- Measuring ----


def measure(cases: Sequence[Case], run: Run) -> tuple[list[Judgement], list[str]]:
    """What came of each ratio, and which commands failed."""
    judged: list[Judgement] = []
    problems: list[str] = []
    for command in dict.fromkeys(case.command for case in cases):
        here = [case for case in cases if case.command == command]
        try:
            judged += _twice(here, command, run)
        except BenchmarkError as error:
            problems.append(str(error))
    return judged, problems


def _twice(cases: Sequence[Case], command: Command, run: Run) -> list[Judgement]:
    """Runs a command, and once more if it failed or one of its ratios did; BenchmarkError then."""
    again = f"once more: {' '.join(command)}"
    try:
        first = _once(cases, command, run)
    except BenchmarkError as error:
        print(f"gate: {error}; {again}", file=sys.stderr)
        return _once(cases, command, run)
    if not _failed(first):
        return first
    print(f"gate: a ratio misses its bound, {again}", file=sys.stderr)
    return _better(first, _once(cases, command, run))


def _once(cases: Sequence[Case], command: Command, run: Run) -> list[Judgement]:
    outcome = run(command)
    if outcome.problem:
        raise BenchmarkError(outcome.problem)
    return [judgement for case in cases for judgement in floors.judge(case, outcome.rows)]


def _failed(judged: Sequence[Judgement]) -> list[Judgement]:
    return [judgement for judgement in judged if judgement.verdict is Verdict.FAILED]


def _better(first: Sequence[Judgement], second: Sequence[Judgement]) -> list[Judgement]:
    """What failed at first, as it came the second time; the rest as it was."""
    return [
        new if old.verdict is Verdict.FAILED else old
        for old, new in zip(first, second, strict=True)
    ]


# ---- What a person sees ----


def show(judged: Sequence[Judgement], problems: Sequence[str]) -> None:
    """Prints a line for each ratio below its case's title, and what could not be judged at all."""
    headings = ["ratio", "measured", "bound", "verdict"]
    lines = []
    for case in dict.fromkeys(one.case.title for one in judged):
        lines += [[case, "", "", ""]]
        lines += [_line(one) for one in judged if one.case.title == case]
    table.show("gate: median ratios within one run", headings, lines, {})
    for title in unjudged(judged):
        print(f"gate: {title}: no ratio of this case was judged", file=sys.stderr)
    for problem in problems:
        print(f"gate: {problem}, twice", file=sys.stderr)


def _line(one: Judgement) -> list[str]:
    kind = "at most" if one.ratio.ceiling else "at least"
    bound = f"{kind} {table.digits(one.ratio.bound)}"
    verdict = "FAILED" if one.verdict is Verdict.FAILED else str(one.verdict)
    return [f"  {one.ratio.field}", table.digits(one.value), bound, verdict]


def unjudged(judged: Sequence[Judgement]) -> list[str]:
    """The titles of the cases of which every ratio was excluded."""
    seen = {one.case.title for one in judged if one.verdict in (Verdict.PASSED, Verdict.FAILED)}
    return [title for title in dict.fromkeys(one.case.title for one in judged) if title not in seen]


def main(argv: list[str] | None = None, run: Run = runs.run) -> int:
    """Returns 0; 1 if a ratio misses its bound, a command failed, or nothing was judged; or 2."""
    chosen = parse(argv)
    try:
        cases = floors.load(chosen.floors)
    except BenchmarkError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    try:
        judged, problems = measure(cases, run)
    except KeyboardInterrupt:
        print("gate: interrupted", file=sys.stderr)
        return 130
    show(judged, problems)
    failed = _failed(judged)
    passed = [one for one in judged if one.verdict is Verdict.PASSED]
    if failed:
        print(
            f"gate: {len(failed)} of {len(judged)} ratios miss their bounds, twice", file=sys.stderr
        )
    if failed or problems:
        return 1
    if not passed:
        print("gate: no ratio could be judged", file=sys.stderr)
        return 1
    print(f"gate: {len(passed)} of {len(judged)} ratios judged, none misses its bound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
