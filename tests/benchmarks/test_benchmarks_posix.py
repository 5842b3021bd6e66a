"""The POSIX benchmark: whole runs of the command, and contenders that are wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import posix
from benchmarks.harness.errors import BenchmarkError
from benchmarks.posix_cases import CASES, LOOP_C, STANDARD, loops

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.posix", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=170)


def test_every_case_is_measured() -> None:
    done = command("--seconds", "0.01", "--json", "-")
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    measured = [row for row in rows if row["scenario"] == "posix"]
    assert len({row["case"] for row in measured}) == len(CASES)
    for row in measured:
        assert row["ns_per_operation"] > 0
        assert row["of_socket"] > 0
        assert row["rounds"] >= posix.ROUNDS_MIN
        assert (row["target"] is None) == (row["reached"] is None)
        assert row["of_socket"] == 1 or row["contender"] != STANDARD
        assert row["of_c"] == 1 or row["contender"] != LOOP_C
    memory = {row["contender"]: row["grown"] for row in rows if row["scenario"] != "posix"}
    assert max(memory["posix.send"], memory["Socket.sendall"]) < posix.LARGE / 8
    assert memory["socket.sendall(array.tobytes())"] > posix.LARGE / 2


def test_the_table_says_what_was_reached(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = command("--quick", "--cases", "offload,sendmmsg", "--json", str(results))
    assert (done.stderr, done.returncode) == ("", 0)
    assert "posix: ns for each operation, medians; 0.05 s a case" in done.stdout
    assert "3 x socket reached" in done.stdout
    assert {row.get("case") for row in json.loads(results.read_text())} > {"offload, 64 datagrams"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "send"], "posix: argument --cases: 'send' is none of send-unix,send-tcp,"),
        (["--seconds", "-1"], "posix: argument --seconds: '-1' is not a number of seconds"),
        (["--json", "/no/such/file"], "posix: argument --json: cannot write '/no/such/file'"),
    ],
)
def test_arguments_that_cannot_be(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_contender_that_moves_other_bytes_is_a_failure() -> None:
    with CASES["send-unix"]() as case:
        wrong = replace(case, expected=b"other")
        with pytest.raises(BenchmarkError, match="send, UNIX: socket.socket moved other bytes"):
            posix.measure(wrong, 0.01)


def test_a_loop_in_c_that_moves_too_little_is_a_failure() -> None:
    with pytest.raises(BenchmarkError, match="a loop in C moved too little"):
        loops().loop_send(-1, b"x", 1, 1)
