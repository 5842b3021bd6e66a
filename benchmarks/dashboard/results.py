"""Saved results, read into rows: of the scenarios, and of pytest-benchmark."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.errors import BenchmarkError

Row = dict[str, Any]

CALLS = "calls"
"""The scenario of the rows that come from pytest-benchmark."""


def files(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and the .json files in the folders that are, however deep."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return found


def read(path: Path) -> list[Row]:
    """The rows of a file; BenchmarkError if it holds no results."""
    try:
        held = json.loads(path.read_text())
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise BenchmarkError(f"{path} is no JSON: {error}") from None
    if isinstance(held, dict) and isinstance(held.get("benchmarks"), list):
        try:
            return [_call(held, benchmark) for benchmark in held["benchmarks"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise BenchmarkError(f"{path} is no pytest-benchmark result: {error!r}") from None
    if isinstance(held, list) and held and all(map(_is_row, held)):
        return [_named(f"{path}: row {number}", row) for number, row in enumerate(held, 1)]
    raise BenchmarkError(
        f"{path} holds no results: rows of a scenario (--json) or of pytest-benchmark are"
    )


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("scenario"), str)


def _named(where: str, row: Row) -> Row:
    """A row with all that the page asks for; the POSIX benchmark has contenders, not peers."""
    known = {"when": "", "machine": "unknown machine", "peer": row.get("contender", "")} | row
    for key in "when", "machine", "peer":
        if not isinstance(known[key], str):
            raise BenchmarkError(f"{where}: its {key} is {known[key]!r}, not a string")
    return {"commit": None} | known


def _call(held: Row, benchmark: Row) -> Row:
    """A row of one pytest-benchmark case."""
    machine, commit = held["machine_info"], held["commit_info"]
    processor = (machine.get("cpu") or {}).get("brand_raw", machine["machine"])
    return {
        "scenario": CALLS,
        "case": benchmark["group"] or benchmark["name"],
        "peer": (benchmark["params"] or {}).get("contender") or benchmark["name"],
        "us": benchmark["stats"]["median"] * 1e6,
        "when": held["datetime"][:19] + "+00:00",  # it is UTC
        "commit": (commit.get("id") or "")[:7] + ("+" if commit.get("dirty") else "") or None,
        "machine": f"{processor}, {machine['system']} {machine['release']}, "
        f"Python {machine['python_version']}",
    }


def faults(row: Row) -> str:
    """What was lost or wrong in a row, in words: its figures say nothing then."""
    return ", ".join(f"{row[key]:,} {key}" for key in ("lost", "corrupt", "wrong") if row.get(key))


def sound(rows: Sequence[Row]) -> list[Row]:
    """The rows without faults, and in them no ratio to a peer that has some in the same run."""
    faulty = [row for row in rows if faults(row)]
    return [
        row | {key: None for other in faulty if same_run(row, other) for key in _ratios(row, other)}
        for row in rows
        if not faults(row)
    ]


def same_run(row: Row, other: Row) -> bool:
    """Whether two rows were measured together."""
    return all(row[key] == other[key] for key in ("scenario", "when", "commit", "machine"))


def _ratios(row: Row, other: Row) -> list[str]:
    """The keys of a row's ratios to the peer of another one."""
    return [key for key in row if key.endswith(f"of_{other['peer'].replace('-', '_')}")]


def newest(rows: Sequence[Row]) -> list[Row]:
    """The rows of the machine and the commit that were measured last.

    What was measured on other machines, or of other commits, is history: it stands in no picture
    beside these.
    """
    if not rows:
        return []
    last = max(rows, key=lambda row: str(row["when"]))
    return [row for row in rows if all(row[key] == last[key] for key in ("machine", "commit"))]
