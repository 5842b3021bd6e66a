"""The floors of fastsock.rpc: a file names only what lies below it, also for types alone."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import fastsock.rpc

RPC = Path(fastsock.rpc.__file__).parent

FLOORS = (
    "errors _context",
    "context",
    "wire",
    "values",
    "signature",
    "client",
    "describe",
    "interface",
    "matchmaker",
    "stub",
    "server",
    "cli",
    "__init__ __main__",
)
"""Folders, and files beside them, the lowest first."""

NAMED = re.compile(
    r"^ *from (fastsock\.rpc[\w.]*) c?import (\([^)]*\)|.*)|^ *c?import (fastsock\.rpc[\w.]*)", re.M
)


def unit_of(file: Path) -> str:
    """A name for the .py, .pyi, .pyx and .pxd of a module: ``client/link``."""
    return str(file.relative_to(RPC).with_suffix("")).removesuffix("/__init__")


UNITS = {unit_of(file) for file in RPC.rglob("*.p*") if "__pycache__" not in str(file)}


def named_in(file: Path) -> set[str]:
    found = set()
    for module, names, alone in NAMED.findall(file.read_text()):
        path = (module or alone).removeprefix("fastsock.rpc").strip(".").replace(".", "/")
        for name in re.findall(r"\w+", names) or [""]:
            inner = f"{path}/{name}".strip("/")
            found.add(inner if inner in UNITS else path or "__init__")
    return found - {unit_of(file)}


def arrows() -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {unit: set() for unit in UNITS}
    for suffix in ("py", "pyi", "pyx", "pxd"):
        for file in RPC.rglob(f"*.{suffix}"):
            graph[unit_of(file)] |= named_in(file) & UNITS
    return graph


def floor_of(unit: str) -> int:
    return [unit.split("/")[0] in floor.split() for floor in FLOORS].index(True)


def test_arrows_point_down():
    graph = arrows()
    up = [
        (unit, below)
        for unit, named in graph.items()
        for below in named
        if floor_of(below) > floor_of(unit)
    ]
    assert not up
    assert ("client/link", "client/sender") in {
        (unit, below) for unit, named in graph.items() for below in named
    }


def test_there_is_no_circle():
    TopologicalSorter(arrows()).prepare()
