"""The ratios of floors.toml in saved rows: the newest as a headline, all of them as history."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.dashboard.results import Row, same_run
from benchmarks.floors import Case, Ratio, matches, sink_bound


@dataclass(frozen=True)
class Headline:
    """The newest value of one ratio."""

    case: Case
    ratio: Ratio
    value: float
    sink_bound: bool

    @property
    def reached(self) -> bool | None:
        """Whether it is what is aimed at; None where that cannot be said."""
        return None if self.sink_bound else self.ratio.reaches(self.value)


@dataclass(frozen=True)
class History:
    """The rows of one case on one machine, oldest first, and the ratios that any of them has."""

    case: Case
    machine: str
    rows: Sequence[Row]
    ratios: Sequence[Ratio]


def headlines(cases: Sequence[Case], rows: Sequence[Row]) -> list[Headline]:
    """The ratios of the newest row of each case; cases without a row are left out."""
    found = []
    for case in cases:
        row = max(_of(case, rows), key=lambda row: row["when"], default=None)
        if row is not None:
            beside = [other for other in rows if same_run(other, row)]
            found += [
                Headline(case, ratio, row[ratio.field], sink_bound(case, ratio, beside))
                for ratio in case.ratios
                if row.get(ratio.field) is not None
            ]
    return found


def histories(cases: Sequence[Case], rows: Sequence[Row]) -> list[History]:
    """The history of each case on each machine that has one: other machines have other ratios."""
    found = []
    for case in cases:
        machines: dict[str, list[Row]] = {}
        for row in sorted(_of(case, rows), key=lambda row: row["when"]):
            machines.setdefault(row["machine"], []).append(row)
        for machine, runs in machines.items():
            known = [one for one in case.ratios if any(row.get(one.field) for row in runs)]
            if known and len(runs) > 1:
                found.append(History(case, machine, runs, known))
    return found


def _of(case: Case, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if matches(row, case.row)]
