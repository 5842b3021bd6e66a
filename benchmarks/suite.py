"""Runs scenarios, all or those that are named, and saves their rows in one file.

Such a file is one run in the history of the dashboard: all its rows have one time and one commit.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import options
from benchmarks.harness.machine import ROOT, provenance
from benchmarks.harness.runs import Outcome, Row, run

FOLDER = ROOT / "build" / "results"
"""Where a run is saved unless another file is named."""

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Part:
    """The arguments of a scenario's command, and those of its quick form.

    All quick forms together take less than ten minutes on two cores.
    """

    full: str
    quick: str


PARTS: Mapping[str, Part] = {
    "fanout": Part(
        "fanout --grid",
        "fanout --quick --clients 10,100 --size 64,16384",
    ),
    "single": Part(
        "fanout --mode single --clients 10,100,1000 --size 64,16384",
        "fanout --mode single --quick --clients 10,100,1000",
    ),
    "latency": Part("fanout --mode latency", "fanout --mode latency --quick"),
    "relay": Part(
        "relay --clients 10,100,1000 --size 64,1024,16384",
        "relay --quick --clients 10,100",
    ),
    "slow": Part("slow", "slow --quick"),
    "echo": Part("echo", "echo --quick"),
    "ingest": Part(
        "ingest --clients 10,100,1000 --batch 1,16",
        "ingest --quick --clients 10,100",
    ),
    "idle": Part("idle", "idle --quick"),
    "rpc": Part("rpc", "rpc --quick"),
    "posix": Part("posix", "posix --quick"),
}


def default_file(origin: Row) -> Path:
    """A name that sorts by time and tells the commit."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    when = datetime.fromisoformat(origin["when"]).astimezone(UTC)
    return FOLDER / f"{when:%Y%m%dT%H%M%SZ}-{origin['commit'] or 'no-commit'}.json"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = options.Parser(prog="suite", description=__doc__, allow_abbrev=False)
    parser.add_argument("scenarios", type=options.names(PARTS), nargs="?", metavar="A,B,...")
    parser.add_argument("--quick", action="store_true", help="the quick form of each")
    parser.add_argument("--json", type=options.json_file, metavar="FILE", help="build/results/...")
    chosen = parser.parse_args(argv)
    if chosen.json == "-":
        parser.error("argument --json: the tables are on the standard output: name a file")
    chosen.scenarios = chosen.scenarios or list(PARTS)
    return chosen


def measure(names: Sequence[str], *, quick: bool, run: Callable[..., Outcome]) -> Outcome:
    """The rows of one scenario after the other; who fails does not keep the others from theirs."""
    rows: list[Row] = []
    problems: list[str] = []
    for name in names:
        print(f"suite: {name}", file=sys.stderr)
        command = PARTS[name].quick if quick else PARTS[name].full
        try:
            outcome = run(command.split())
        except KeyboardInterrupt:
            problems.append(INTERRUPTED)
            break
        rows += outcome.rows
        problems += [outcome.problem] if outcome.problem else []
    return Outcome(rows, "; ".join(problems) or None)


def main(argv: list[str] | None = None, run: Callable[..., Outcome] = run) -> int:
    """Returns 0, 1 if a scenario failed, or 130 after Ctrl-C; what there is, is saved."""
    chosen = parse(argv)
    origin = provenance()
    found = measure(chosen.scenarios, quick=chosen.quick, run=run)
    if found.rows:
        path = Path(chosen.json or default_file(origin))
        path.write_text(json.dumps([row | origin for row in found.rows], indent=1) + "\n")
        print(f"suite: {len(found.rows)} rows in {path}")
    if not found.problem:
        return 0
    print(f"suite: {found.problem}", file=sys.stderr)
    return 130 if found.problem.endswith(INTERRUPTED) else 1


if __name__ == "__main__":
    sys.exit(main())
