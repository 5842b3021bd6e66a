"""Runs scenarios as a person would, and hands back the rows of all: what the suite and the gate do.

Each is a process of its own, whose table and messages are seen as they come.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import ROOT

Row = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The rows of a command, and in one line what went wrong; then they may not be all."""

    rows: list[Row]
    problem: str | None = None


def run(command: Sequence[str]) -> Outcome:
    """What came of `python -m benchmarks.<command>`."""
    scenario, *arguments = command
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "rows.json"
        line = [sys.executable, "-m", f"benchmarks.{scenario}", *arguments, "--json", str(results)]
        status = subprocess.run(line, cwd=ROOT).returncode
        text = results.read_text() if results.exists() else ""
    problem = f"benchmarks.{' '.join(command)}: failed with status {status}" if status else None
    return Outcome(json.loads(text or "[]"), problem)
