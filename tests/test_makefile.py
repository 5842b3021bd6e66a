"""What `make` says, in one line, where it cannot begin."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path):
    """Runs make in a clone where nothing is built yet, with what a setting changes."""
    clone = tmp_path / "a clone"
    (clone / "fastsock").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(TREE / name, clone)
    plain = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PIP_", "MAKE")) and not key.lower().endswith("_proxy")
    }

    def run(*arguments, **settings):
        command = ["make", f"PYTHON={sys.executable}", *arguments]
        env = {**plain, **settings}
        return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True), clone

    return run


@pytest.mark.parametrize("target", ["demo", "test"])
def test_without_a_network_it_says_so_before_it_makes_anything(make, target):
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/simple"}
    done, clone = make(target, **nowhere)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(told) == 1
    assert told[0].startswith("no packages come from PyPI: is there a network?")
    assert sorted(path.name for path in clone.iterdir()) == [
        "Makefile",
        "fastsock",
        "pyproject.toml",
    ]


def test_without_a_compiler_it_says_so_first(make):
    done, clone = make("test", "CC=no-such-compiler")
    assert done.returncode == 2
    assert done.stderr.startswith("fastsock needs a C compiler: ")
    assert not (clone / ".venv").exists()
