"""What every scenario shares: command line, order of the runs, rows, tables, exit status.

A scenario derives from Scenario and says what its cases are, how one run of a peer goes, and which
figures the run gives; `Scenario().main()` is then its command.
"""

import argparse
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Generic, TypeVar

from benchmarks.harness import options, table
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.machine import provenance
from benchmarks.harness.processes import where
from benchmarks.harness.rounds import Rounds, interleave
from benchmarks.harness.stats import median_ratio, spread
from benchmarks.peers import Peer

Case = TypeVar("Case")
"""A frozen dataclass of the parameters that tell one table from another; they go into the row."""

Run = TypeVar("Run")
"""What one run of one peer gave: an object with an attribute for each figure and fault."""

Row = dict[str, Any]

SINK_BOUND = 0.9
"""A load generator that is busier than this may have set the pace itself."""


class Scenario(ABC, Generic[Case, Run]):
    """One benchmark: `python -m benchmarks.<name>`."""

    name: ClassVar[str]
    peers: ClassVar[Mapping[str, Peer]]
    figures: ClassVar[tuple[str, ...]]
    """Attributes of a run whose medians the row holds. `of_<peer>` and `spread` are the first's."""
    compared: ClassVar[tuple[str, ...]] = ()
    """Further figures with a ratio, `<figure>_of_<peer>`."""
    faults: ClassVar[tuple[str, ...]] = ("lost", "corrupt")
    """Attributes that are summed over the check and all timed runs, and have to be 0."""
    columns: ClassVar[tuple[table.Column, ...]]
    seconds: ClassVar[float] = 3.0
    quick_seconds: ClassVar[float] = 0.3
    repeats: ClassVar[int] = 3

    # ---- What a scenario says ----

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the scenario's own arguments."""

    @abstractmethod
    def cases(self, chosen: argparse.Namespace) -> Sequence[Case]:
        """The cases that the command line asks for."""

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        """What is done once before the first run; BenchmarkError if it cannot be done."""

    @abstractmethod
    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        """One run of a peer, with fresh processes; with check, one that looks at every byte.

        Raises Unavailable for a peer that cannot take part here, else BenchmarkError.
        """

    @abstractmethod
    def title(self, case: Case) -> str:
        """The case in a few words."""

    def extras(self, checked: Run) -> Row:
        """Fields of a row beside the figures, from the checked run."""
        return {}

    # ---- What is the same for all ----

    def main(self, argv: list[str] | None = None) -> int:
        """Returns 0, or 1 if a peer failed or had a fault, or none could be measured."""
        chosen = self.parse(argv)
        cases = self.cases(chosen)
        try:
            self.prepare(chosen, cases)
            measured = self.measure(chosen, cases)
        except BenchmarkError as error:
            print(f"{self.name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted", file=sys.stderr)
            return 130
        return self.conclude(chosen, measured)

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        """The command line; --quick is short for few seconds and one repeat."""
        description = sys.modules[type(self).__module__].__doc__
        parser = options.Parser(prog=self.name, description=description, allow_abbrev=False)
        self.arguments(parser)
        parser.add_argument(
            "--peers", type=options.names(self.peers), default=list(self.peers), metavar="A,B,..."
        )
        parser.add_argument(
            "--seconds", type=options.seconds, metavar="S", help=f"per run ({self.seconds:g})"
        )
        parser.add_argument(
            "--repeats", type=options.whole(1, 100), metavar="N", help=f"({self.repeats})"
        )
        parser.add_argument("--json", type=options.json_file, metavar="FILE|-")
        quick = f"--seconds {self.quick_seconds:g} --repeats 1"
        parser.add_argument("--quick", action="store_true", help=quick)
        chosen = parser.parse_args(argv)
        chosen.seconds = chosen.seconds or (self.quick_seconds if chosen.quick else self.seconds)
        chosen.repeats = chosen.repeats or (1 if chosen.quick else self.repeats)
        return chosen

    def measure(
        self, chosen: argparse.Namespace, cases: Sequence[Case]
    ) -> list[tuple[Case, Rounds[Run]]]:
        """The rounds of one case after the other."""
        measured = []
        with table.progress(len(cases) * len(chosen.peers) * (chosen.repeats + 1)) as report:
            for case in cases:
                rounds = interleave(
                    chosen.peers,
                    chosen.repeats,
                    # `case` is the one of this turn: the lambda does not outlive it.
                    lambda peer, check: self.run(peer, case, chosen.seconds, check=check),  # noqa: B023
                    lambda what: report(f"{self.title(case)}: {what}"),  # noqa: B023
                )
                measured.append((case, rounds))
        return measured

    def conclude(
        self, chosen: argparse.Namespace, measured: Sequence[tuple[Case, Rounds[Run]]]
    ) -> int:
        """Writes the results where they are wanted, says what went wrong, returns the status."""
        found = [(case, rounds, self.rows(case, rounds)) for case, rounds in measured]
        results = [row for _, _, rows in found for row in rows]
        if chosen.json:
            text = json.dumps(results, indent=1) + "\n"
            sys.stdout.write(text) if chosen.json == "-" else Path(chosen.json).write_text(text)
        problems = []
        for case, rounds, rows in found:
            if chosen.json != "-":
                self.show(case, chosen, rows, rounds.absent | rounds.failed)
            problems += self.problems(case, rounds, rows)
        if not results:
            problems.append("no peer was measured")
        for problem in problems:
            print(f"{self.name}: {problem}", file=sys.stderr)
        return 1 if problems else 0

    def rows(self, case: Case, rounds: Rounds[Run]) -> list[Row]:
        """The JSON rows of a case, one for each peer that was timed."""
        origin = provenance()
        return [
            {"scenario": self.name, **asdict(case), "peer": peer}  # type: ignore[call-overload]
            | self.row(peer, rounds)
            | origin
            for peer in rounds.timed
        ]

    def row(self, peer: str, rounds: Rounds[Run]) -> Row:
        """What the runs of one peer gave, and the ratios to the others."""

        def values(figure: str, of: str = peer) -> list[float]:
            return [getattr(run, figure) for run in rounds.timed.get(of, [])]

        first, runs = self.figures[0], rounds.timed[peer]
        row: Row = {figure: median(values(figure)) for figure in self.figures}
        if "sink_cpu_share" in row:
            row["sink_bound"] = row["sink_cpu_share"] > SINK_BOUND
        for fault in self.faults:
            row[fault] = sum(getattr(run, fault) for run in [rounds.checked[peer], *runs])
        row |= self.extras(rounds.checked[peer])
        row |= {"repeats": len(runs), "spread": spread(values(first))}
        for prefix, figure in [("", first), *((f"{figure}_", figure) for figure in self.compared)]:
            for other in self.peers:
                key = f"{prefix}of_{other.replace('-', '_')}"
                row[key] = median_ratio(values(figure), values(figure, other))
        return row

    def problems(self, case: Case, rounds: Rounds[Run], rows: Sequence[Row]) -> list[str]:
        """What makes the command fail, a line each."""
        title = self.title(case)
        found = [f"{title}: {peer} failed: {why}" for peer, why in rounds.failed.items()]
        for row in rows:
            if any(row[fault] for fault in self.faults):
                counts = ", ".join(f"{row[fault]} {fault}" for fault in self.faults)
                found.append(f"{title}: {row['peer']}: {counts}")
        return found

    def show(
        self,
        case: Case,
        chosen: argparse.Namespace,
        rows: Sequence[Row],
        notes: Mapping[str, str],
    ) -> None:
        """Prints the table of a case; a peer without figures has a note below it."""
        runs = f"{chosen.seconds:g} s, median of {chosen.repeats}"
        columns = [table.Column("peer", lambda row: row["peer"]), *self.columns]
        table.show(
            f"{self.name}, {self.title(case)}, {runs}; {where()}",
            [column.heading for column in columns],
            [[column.text(row) for column in columns] for row in rows],
            notes,
        )
