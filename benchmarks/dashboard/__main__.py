"""Writes one page of saved results: `python -m benchmarks.dashboard --help`.

RESULTS are files that a scenario (--json), the suite or pytest-benchmark wrote, or folders of
them. Without any these are build/results, benchmarks/results, and .benchmarks, where `make bench`
saves. The page needs no network and no script; what it shows of which scenario stands in charts.py.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import floors
from benchmarks.dashboard.results import files, read
from benchmarks.harness import options
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.machine import ROOT

try:
    from benchmarks.dashboard.page import page
except ImportError:
    raise SystemExit(
        "the dashboard needs matplotlib and jinja2: pip install 'fastsock[bench]'"
    ) from None

SAVED = (ROOT / "build" / "results", ROOT / "benchmarks" / "results", ROOT / ".benchmarks")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = options.Parser(prog="dashboard", description=__doc__, allow_abbrev=False)
    parser.add_argument("results", type=Path, nargs="*", metavar="RESULTS")
    parser.add_argument("-o", "--output", type=options.json_file, default="dashboard.html")
    chosen = parser.parse_args(argv)
    chosen.results = chosen.results or [folder for folder in SAVED if folder.is_dir()]
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 2 if there are no results, or a file is none."""
    chosen = parse(argv)
    try:
        found = files(chosen.results)
        rows = [row for path in found for row in read(path)]
        if not rows:
            raise BenchmarkError("no saved results: make dashboard measures some")
        text = page(rows, floors.load())
    except BenchmarkError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 2
    Path(chosen.output).write_text(text)
    count = "1 file" if len(found) == 1 else f"{len(found)} files"
    print(f"dashboard: {len(rows)} rows of {count} in {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
