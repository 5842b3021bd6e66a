"""When, of what and on which machine a result was measured: what makes a saved row comparable."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def provenance() -> dict[str, Any]:
    """The fields that every row of one command shares: when, commit and machine."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"when": now, "commit": commit(), "machine": machine()}


def commit() -> str | None:
    """The short hash of the commit, with "+" if files differ from it; None outside of git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def machine() -> str:
    """The processor, the cores that may be used, the kernel and Python, in one line."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()
