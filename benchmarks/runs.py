"""Runs scenarios as a person would, and hands back the rows of all: what the suite and the gate do.

Each is a process of its own, whose table and messages are seen as they come.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.machine import ROOT


def run(command: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of `python -m benchmarks.<command>`; BenchmarkError if it failed."""
    scenario, *arguments = command
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "rows.json"
        line = [sys.executable, "-m", f"benchmarks.{scenario}", *arguments, "--json", str(results)]
        status = subprocess.run(line, cwd=ROOT).returncode
        if status:
            raise BenchmarkError(f"benchmarks.{' '.join(command)}: failed with status {status}")
        return list(json.loads(results.read_text()))
