"""The arrows between the files of fastsock, as their imports and includes say."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CYTHON = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+c?import\s+(\([^)]*\)|.+)|c?import\s+([\w.]+))", re.M
)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
EXTERN = re.compile(r'^\s*cdef extern from "(\w+/\w+\.h)"', re.M)
PUBLIC = "csrc/engine/fs_reactor.h"
"""Declares what several files define, so it is no part of fs_reactor.c."""
SOURCES = (".py", ".pyx", ".pxd", ".pyi")

Graph = dict[str, set[str]]


def arrows(root: Path = ROOT) -> Graph:
    """Return what each file names, by names such as ``csrc/log/fs_log`` and ``fastsock/rpc/stub``.

    The .py, .pyx, .pxd and .pyi files of a module have one name, and so have the .c and .h files of
    a C unit.
    """
    found: Graph = {}
    for path in sorted((root / "csrc").rglob("*.[ch]")):
        named = {_header(name) for name in INCLUDE.findall(path.read_text())}
        found.setdefault(_unit(path, root), set()).update(named)
    paths = [each for each in sorted((root / "fastsock").rglob("*")) if each.suffix in SOURCES]
    modules = {_unit(path, root) for path in paths}
    for path in paths:
        of_kind = _of_python if path.suffix in (".py", ".pyi") else _of_cython
        units = {unit for name in of_kind(path.read_text()) for unit in _resolve(name, modules)}
        units |= {_header(name) for name in EXTERN.findall(path.read_text())}
        found.setdefault(_unit(path, root), set()).update(units)
    return {unit: named - {unit} for unit, named in found.items()}


def _unit(path: Path, root: Path) -> str:
    shown = path.relative_to(root)
    return str(shown if str(shown) == PUBLIC else shown.with_suffix(""))


def _header(name: str) -> str:
    shown = f"csrc/{name}"
    return shown if shown == PUBLIC else shown.removesuffix(".h")


def _of_python(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _of_cython(text: str) -> Iterator[str]:
    for module, names, alone in CYTHON.findall(text):
        if alone:
            yield alone
        else:
            yield from (f"{module}.{name.strip()}" for name in names.strip("()").split(","))


def _resolve(name: str, modules: set[str]) -> Iterator[str]:
    """Yield the file that an imported name is, or is in; nothing if it is not ours."""
    whole = name.replace(".", "/")
    outer = whole.rpartition("/")[0]
    for unit in (whole, f"{whole}/__init__", outer, f"{outer}/__init__"):
        if unit in modules:
            yield unit
            return


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of files that lead to each other, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(unit: str) -> None:
        number[unit] = low[unit] = len(number)
        stack.append(unit)
        for other in sorted(graph.get(unit, ())):
            if other not in number:
                visit(other)
                low[unit] = min(low[unit], low[other])
            elif other in stack:
                low[unit] = min(low[unit], number[other])
        if low[unit] == number[unit]:
            group = stack[stack.index(unit) :]
            del stack[stack.index(unit) :]
            if len(group) > 1:
                found.append(sorted(group))

    for unit in sorted(graph):
        if unit not in number:
            visit(unit)
    return found


def floor_of(unit: str, floors: Sequence[str]) -> int:
    """Return the floor whose folder or file fits best. Raises ValueError if none does."""
    fitting = [
        (len(place), number)
        for number, places in enumerate(floors)
        for place in places.split()
        if unit == place or unit.startswith(f"{place}/")
    ]
    if not fitting:
        raise ValueError(f"{unit} has no floor")
    return max(fitting)[1]


def upward(graph: Graph, floors: Sequence[str]) -> list[tuple[str, str]]:
    """Return the arrows from a file to one on a higher floor."""
    return sorted(
        (unit, other)
        for unit, named in graph.items()
        for other in named
        if floor_of(other, floors) > floor_of(unit, floors)
    )
