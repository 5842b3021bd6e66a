"""The ratios that count (floors.toml): read, found in results, judged.

The gate fails below a floor; the dashboard shows each ratio beside what it aims at.
"""

import shlex
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.harness.errors import BenchmarkError

FILE = Path(__file__).parent / "floors.toml"

Row = Mapping[str, Any]

SERVERS_OWN = ("private_bytes", "us_per_")
"""How figures begin that the load generator does not set the pace of: memory and CPU time."""

SHARES = ("kept", "kept_flowing")
"""Figures that are ratios already, of two runs of the same peer."""


@dataclass(frozen=True)
class Ratio:
    """A field of a row that compares its peer with another one, and where it has to lie."""

    field: str
    bound: float
    aim: float | None
    ceiling: bool
    """The bound is the highest value that passes (of times, of memory), not the lowest."""

    @property
    def figure(self) -> str:
        """What is compared, of a row that has several such figures: `p50_us` of `p50_us_of_x`."""
        return self.field if self.field in SHARES else self.field.rpartition("of_")[0].strip("_")

    @property
    def other(self) -> str:
        """Whom the row's peer is compared with: `p50_us_of_asyncio` is a ratio to asyncio."""
        return (
            "itself" if self.field in SHARES else self.field.rpartition("of_")[2].replace("_", "-")
        )

    def holds(self, value: float) -> bool:
        """Whether a value passes the gate."""
        return value <= self.bound if self.ceiling else value >= self.bound

    def reaches(self, value: float) -> bool | None:
        """Whether a value is what is aimed at; None where nothing is."""
        if self.aim is None:
            return None
        return value <= self.aim if self.ceiling else value >= self.aim


@dataclass(frozen=True)
class Case:
    """A command, the one row of its results that is looked at, and that row's ratios."""

    title: str
    command: tuple[str, ...]
    """The scenario and its arguments, as they follow `python -m benchmarks.`"""
    row: Mapping[str, Any]
    """The fields that tell the row from all others."""
    ratios: tuple[Ratio, ...]


class Verdict(StrEnum):
    """What came of one ratio."""

    PASSED = "passed"
    FAILED = "failed"
    SINK_BOUND = "not judged: sink-bound"
    ABSENT = "not judged: peer absent"


@dataclass(frozen=True)
class Judgement:
    """One ratio as it was measured; the value is None where the other peer was not."""

    case: Case
    ratio: Ratio
    value: float | None
    verdict: Verdict


def matches(row: Row, fields: Mapping[str, Any]) -> bool:
    """Whether a row has all these fields with these values."""
    return all(key in row and row[key] == value for key, value in fields.items())


def judge(case: Case, rows: Sequence[Row]) -> list[Judgement]:
    """What came of the ratios of a case; BenchmarkError where no row, or no field, is meant."""
    found = [row for row in rows if matches(row, case.row)]
    if len(found) != 1:
        wanted = ", ".join(f"{key} = {value!r}" for key, value in case.row.items())
        raise BenchmarkError(f"floors: {case.title!r} matches {len(found)} rows, not one: {wanted}")
    return [_judged(case, ratio, found[0], rows) for ratio in case.ratios]


def _judged(case: Case, ratio: Ratio, row: Row, rows: Iterable[Row]) -> Judgement:
    if ratio.field not in row:
        raise BenchmarkError(f"floors: {case.title!r}: its row has no {ratio.field!r}")
    value = row[ratio.field]
    if value is None:
        verdict = Verdict.ABSENT
    elif sink_bound(case, ratio, rows):
        verdict = Verdict.SINK_BOUND
    else:
        verdict = Verdict.PASSED if ratio.holds(value) else Verdict.FAILED
    return Judgement(case, ratio, value, verdict)


def sink_bound(case: Case, ratio: Ratio, rows: Iterable[Row]) -> bool:
    """Whether the load generator set the pace of a side in these rows of one run.

    Then a ratio of rates or latencies is none of the peers'. Memory and CPU time are the servers'
    own all the same.
    """
    if ratio.figure.startswith(SERVERS_OWN):
        return False
    rival = {**case.row, "peer": ratio.other}
    sides = [row for row in rows if matches(row, case.row) or matches(row, rival)]
    return any(row.get("sink_bound") for row in sides)


# ---- The file ----

KINDS: Mapping[str, tuple[type, str]] = {
    "title": (str, "string"),
    "command": (str, "string"),
    "row": (dict, "table"),
    "ratios": (dict, "table"),
}


def load(path: Path = FILE) -> list[Case]:
    """The cases of a file; BenchmarkError in one line if it is not as it should be."""
    try:
        text = tomllib.loads(path.read_text())
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BenchmarkError(f"{path} is no TOML: {' '.join(str(error).split())}") from None
    cases = text.get("case")
    tables = isinstance(cases, list) and all(isinstance(case, dict) for case in cases)
    if set(text) != {"case"} or not tables or not cases:
        raise BenchmarkError(f"{path}: has to hold [[case]] tables and nothing else")
    return [_case(path, number, fields) for number, fields in enumerate(cases, 1)]


def _case(path: Path, number: int, fields: dict[str, Any]) -> Case:
    for key in sorted(KINDS.keys() ^ fields.keys()):
        problem = "has no" if key in KINDS else "has an unknown"
        raise BenchmarkError(f"{path}: case {number} {problem} {key!r}")
    for key, (kind, name) in KINDS.items():
        if not isinstance(fields[key], kind) or not fields[key]:
            raise BenchmarkError(f"{path}: case {number}: {key} is {fields[key]!r}, not a {name}")
    where = f"{path}: {fields['title']!r}"
    ratios = tuple(_ratio(where, field, bounds) for field, bounds in fields["ratios"].items())
    return Case(fields["title"], tuple(shlex.split(fields["command"])), fields["row"], ratios)


def _ratio(where: str, field: str, bounds: object) -> Ratio:
    if "of_" not in field and field not in SHARES:
        raise BenchmarkError(f"{where}: {field} is no ratio: an absolute figure says nothing here")
    kinds = ({"floor"}, {"ceiling"}, {"floor", "aim"}, {"ceiling", "aim"})
    if not isinstance(bounds, dict) or set(bounds) not in kinds:
        raise BenchmarkError(f"{where}: {field} is {bounds}, not {{ floor or ceiling, aim }}")
    for key, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise BenchmarkError(f"{where}: {field}: {key} is {value!r}, not a number above 0")
    ceiling = "ceiling" in bounds
    return Ratio(field, bounds["ceiling" if ceiling else "floor"], bounds.get("aim"), ceiling)
