"""Runs every scenario and saves all rows in one file: `python -m benchmarks.suite --help`.

Such a file is one run in the history of the dashboard.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import options
from benchmarks.errors import BenchmarkError
from benchmarks.machine import ROOT, commit
from benchmarks.runs import run

SCENARIOS = (
    ("fanout", "--grid"),
    ("fanout", "--mode", "single"),
    ("rpc",),
)
FOLDER = ROOT / "build" / "results"
"""Where a run is saved unless another file is named."""


def default_file() -> Path:
    """A name that sorts by time and tells the commit."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{commit() or 'no-commit'}.json"


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 1 if a scenario failed; what the others gave is saved all the same."""
    parser = options.Parser(prog="suite", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="the quick form of each")
    parser.add_argument("--json", type=options.json_file, metavar="FILE", help="build/results/...")
    chosen = parser.parse_args(argv)
    if chosen.json == "-":
        parser.error("argument --json: the tables are on the standard output: name a file")
    rows, problems = [], []
    for scenario in SCENARIOS:
        try:
            rows += run([*scenario, "--quick"] if chosen.quick else scenario)
        except BenchmarkError as error:
            problems.append(str(error))
        except KeyboardInterrupt:
            print("suite: interrupted", file=sys.stderr)
            return 130
    if rows:
        path = Path(chosen.json or default_file())
        path.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"suite: {len(rows)} rows in {path}")
    for problem in problems:
        print(f"suite: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
