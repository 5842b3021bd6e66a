"""Compiles the C programs of the benchmarks when they are needed."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.harness.errors import BenchmarkError

SOURCES = Path(__file__).parents[1] / "csrc"
ROOT = Path(__file__).parents[2]
FLAGS = ["-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow"]


def folder() -> Path:
    """Where the programs are: in build/, or in the user's cache if the clone is read-only."""
    if os.access(ROOT, os.W_OK):
        return ROOT / "build" / "benchmarks"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "fastsock" / sha256(bytes(ROOT)).hexdigest()[:16]


def compiled(name: str, *flags: str) -> Path:
    """The program of csrc/<name>.c, compiled anew if the source is newer.

    flags are the compiler's beside the usual ones; "-shared", "-fPIC" make a library of it. The
    compiler is `cc`, or what the environment variable CC says. Raises BenchmarkError.
    """
    program = folder() / name
    source = SOURCES / f"{name}.c"
    newest = max(file.stat().st_mtime for file in (source, *SOURCES.glob("*.h")))
    if not program.exists() or program.stat().st_mtime < newest:
        _compile(source, program, flags)
    return program


def _compile(source: Path, program: Path, flags: Sequence[str]) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    # Another benchmark may be starting the program at this moment, so it is replaced as a whole.
    fresh = program.with_name(f"{program.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, *FLAGS, *flags, str(source), "-o", str(fresh)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise BenchmarkError(
            f"the C compiler {compiler[0]!r} does not run ({error.strerror}): "
            "install gcc, or name a compiler with CC="
        ) from None
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if "error" in line]
        raise BenchmarkError(f"{source.name} does not compile: {reasons[:1] or done.returncode}")
    fresh.replace(program)
