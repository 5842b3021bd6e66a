"""The model test of tests/model.py over many seeds, on an honest kernel and on a stingy one.

SOAK_SEEDS says how many seeds; `make soak` sets it high.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SEEDS = int(os.environ.get("SOAK_SEEDS", "60"))


@pytest.fixture(scope="module")
def stingy(tmp_path_factory):
    """The library that makes system calls move less than they could."""
    library = tmp_path_factory.mktemp("stingy") / "stingy.so"
    compiler = os.environ.get("CC", "cc")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run([compiler, *flags, HERE / "c" / "preload.c", "-o", library], check=True)
    return library


def run(first_seed, environment):
    command = [sys.executable, HERE / "model.py", f"--seed={first_seed}", f"--count={SEEDS}"]
    environment = {**os.environ, **environment}
    limit = 50 + SEEDS
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(3600)
def test_every_client_receives_what_the_oracle_says():
    run(1, {})


@pytest.mark.timeout(3600)
def test_so_it_does_with_short_writes_and_eagain_everywhere(stingy):
    preload = f"{os.environ.get('LD_PRELOAD', '')} {stingy}".strip()
    run(100_000, {"LD_PRELOAD": preload, "STINGY": "1"})
