"""Saved results, read into rows: of the scenarios, and of pytest-benchmark."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError

Row = dict[str, Any]

CALLS = "calls"
"""The scenario of the rows that come from pytest-benchmark."""


def files(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and the .json files of the folders that are."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
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
        return [_named(row) for row in held]
    raise BenchmarkError(
        f"{path} holds no results: rows of a scenario (--json) or of pytest-benchmark are"
    )


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("scenario"), str)


def _named(row: Row) -> Row:
    """A row with all that the page asks for; the POSIX benchmark has contenders, not peers."""
    unknown = {"when": "", "commit": None, "machine": "unknown machine"}
    return unknown | {"peer": row.get("contender", "")} | row


def _call(held: Row, benchmark: Row) -> Row:
    """A row of one pytest-benchmark case."""
    machine, commit = held["machine_info"], held["commit_info"]
    processor = (machine.get("cpu") or {}).get("brand_raw", machine["machine"])
    return {
        "scenario": CALLS,
        "case": benchmark["group"] or benchmark["name"],
        "peer": benchmark.get("param") or benchmark["name"],
        "us": benchmark["stats"]["median"] * 1e6,
        "when": held["datetime"][:19] + "+00:00",  # it is UTC
        "commit": (commit.get("id") or "")[:7] + ("+" if commit.get("dirty") else "") or None,
        "machine": f"{processor}, {machine['system']} {machine['release']}, "
        f"Python {machine['python_version']}",
    }


def newest(rows: Sequence[Row]) -> list[Row]:
    """The rows of the machine and the commit that were measured last.

    What was measured on other machines, or of other commits, is history: it stands in no picture
    beside these.
    """
    if not rows:
        return []
    last = max(rows, key=lambda row: str(row["when"]))
    return [row for row in rows if all(row[key] == last[key] for key in ("machine", "commit"))]
