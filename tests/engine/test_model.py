"""The model test of tests/support/model.py over many seeds, on an honest kernel and a stingy one.

SOAK_SEEDS says how many seeds; `make soak` sets it high.
"""

import os
import subprocess
import sys
from pathlib import Path

import preload
import pytest

MODEL = Path(__file__).parents[1] / "support" / "model.py"
SEEDS = int(os.environ.get("SOAK_SEEDS", "60"))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library that makes system calls move less than they could."""
    return preload.build("preload", tmp_path_factory.mktemp("stingy"))


def run(first_seed, stingy, library):
    command = [sys.executable, MODEL, f"--seed={first_seed}", f"--count={SEEDS}"]
    environment = preload.environment(library, STINGY=stingy)
    limit = 50 + SEEDS
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", ["0", "1"], ids=["honest", "stingy"])
def test_every_client_receives_what_the_oracle_says(library, seed):
    """Seed 0: small send buffers only; else short writes, short reads and EAGAIN everywhere."""
    run(1 if seed == "0" else 100_000, seed, library)
