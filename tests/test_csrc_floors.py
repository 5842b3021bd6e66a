"""The floors of csrc: a file includes and calls only what lies below it."""

import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

CSRC = Path(__file__).parents[1] / "csrc"

FOLDERS = ("base", "io", "wire", "log", "engine")

ENGINE = (
    "types inbox pace listener",
    "conn",
    "state",
    "subscribe stats",
    "publish close waiter",
    "flush idle route",
    "accept receive slow",
    "turn",
    "borrow",
    "reactor",
)
"""The floors of engine/, lowest first. fs_reactor.h is the face that files of all floors implement:
any .c includes it, no .h does."""

FACE = "engine/fs_reactor.h"


@cache
def text_of(file: Path) -> str:
    """A file without comments."""
    return re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)


def unit_of(file: Path | str) -> str:
    return Path(file).stem.removeprefix("fs_")


def floor_of(file: Path) -> tuple[int, int]:
    folder = FOLDERS.index(file.parent.name)
    inner = [unit_of(file) in floor.split() for floor in ENGINE].index(True) if folder == 4 else 0
    return folder, inner


def files(pattern: str) -> list[Path]:
    return sorted(CSRC.glob(f"*/{pattern}"))


def included(file: Path) -> list[str]:
    return re.findall(r'#include "(.+)"', text_of(file))


def lower(above: Path, below: Path) -> bool:
    """Whether one file may name the other. Folders but engine/ have no floors of their own."""
    if floor_of(above)[0] == floor_of(below)[0] < 4:
        return True
    return unit_of(above) == unit_of(below) or floor_of(below) < floor_of(above)


def test_includes_point_down() -> None:
    wrong = [
        f"{file.relative_to(CSRC)} includes {name}"
        for file in files("*.[ch]")
        for name in included(file)
        if not (lower(file, CSRC / name) or (name == FACE and file.suffix == ".c"))
    ]
    assert wrong == []


def test_headers_form_no_circle() -> None:
    graph = {str(file.relative_to(CSRC)): included(file) for file in files("*.h")}
    list(TopologicalSorter(graph).static_order())


def test_calls_point_down() -> None:
    """A definition begins in the first column, a use does not."""
    home = {
        name: file
        for file in files("*.c")
        for name in re.findall(r"^(?!static|#)\w[^\n(]*\b(fs_\w+)\(", text_of(file), flags=re.M)
    }
    assert len(home) > 100
    wrong = [
        f"{file.relative_to(CSRC)} calls {name} of {home[name].name}"
        for file in files("*.[ch]")
        for line in text_of(file).splitlines()
        if line.startswith(" ")
        for name in re.findall(r"\bfs_\w+\b", line)
        if name in home and not lower(file, home[name])
    ]
    assert wrong == []


def test_public_functions_can_be_told_by_name() -> None:
    """fs_reactor.h declares fs_reactor_..., fs_turn.h fs_turn_..., and so on."""
    wrong = [
        f"{file.name} declares {name}"
        for file in (CSRC / "engine").glob("*.h")
        for name in re.findall(r"^\w[^\n(=]*\b(fs_\w+)\(", text_of(file), flags=re.M)
        if not name.startswith(f"fs_{unit_of(file)}") and unit_of(file) != "types"
    ]
    assert wrong == []
