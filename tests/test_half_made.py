"""Objects that ``__new__`` has made and ``__init__`` has not: an error that says so, never a
crash."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastsock

SECONDS_MAX = 40
SCRIPT = Path(__file__).parent / "peers" / "half_made.py"
HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: a class that Python has made."""


def modules():
    found = pkgutil.walk_packages(fastsock.__path__, "fastsock.")
    return [importlib.import_module(one.name) for one in found if "__main__" not in one.name]


def types_of(wanted):
    """The types that are defined in this package, by module and name."""
    for module in modules():
        for name, kind in vars(module).items():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and wanted(kind):
                yield module.__name__, name


def in_c(kind):
    """Whether it is a compiled type, or made of one."""
    return any(
        not base.__flags__ & HEAP_TYPE and base.__module__.startswith("fastsock")
        for base in kind.__mro__
    )


TYPES = sorted(types_of(in_c))


def test_all_types_are_found():
    names = {name for _, name in TYPES}
    assert {"Client", "MultiServer", "Connection", "Call", "Link", "LinkCore", "Body"} <= names


@pytest.mark.parametrize(("module", "name"), TYPES, ids=[f"{m}.{n}" for m, n in TYPES])
def test_what_new_alone_has_made_is_refused_or_says_what_is_wrong(module, name):
    command = [sys.executable, "-P", "-W", "error", str(SCRIPT), module, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said == ["refused"] or [line.split()[0] for line in said] == ["raised"], said
