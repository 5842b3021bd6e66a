"""Libraries of tests/c that are loaded into a program before all others, LD_PRELOAD (ld.so(8))."""

import os
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "c"
FLAGS = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE")


def build(name: str, directory: Path) -> Path:
    """Compile the source of that name in tests/c; return the library."""
    library = directory / f"{name}.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *FLAGS, SOURCES / f"{name}.c", "-o", library], check=True)
    return library


def environment(library: Path, **variables: str) -> dict[str, str]:
    """The environment of a program that loads it, with these variables, too."""
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
    return {**os.environ, "LD_PRELOAD": preload, **variables}
