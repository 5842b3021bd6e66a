"""The suite: which scenarios it runs, and what it saves if some fail."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite
from benchmarks.harness.runs import Outcome

ROOT = Path(__file__).parents[2]
ALL = ["fanout", "single", "latency", "relay", "slow", "echo", "ingest", "idle", "rpc", "posix"]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Runs the suite and reads what it has saved."""

    def measure(*arguments: str, **options: Any) -> tuple[int, list[dict[str, Any]]]:
        path = tmp_path / "run.json"
        status = suite.main([*arguments, "--json", str(path)], **options)
        return status, json.loads(path.read_text() or "[]")

    return measure


def test_all_scenarios_are_run_and_their_rows_are_one_run(saved: Any) -> None:
    begun = []

    def run(command: Sequence[str]) -> Outcome:
        begun.append(" ".join(command))
        return Outcome([{"scenario": command[0], "when": "then"}])

    status, rows = saved("--quick", run=run)
    assert status == 0
    assert list(suite.PARTS) == ALL
    assert begun == [part.quick for part in suite.PARTS.values()]
    assert len(rows) == len(ALL)
    assert {row["when"] for row in rows} == {rows[0]["when"]} != {"then"}
    assert all(row["machine"] for row in rows)


def test_what_fails_is_told_and_the_rest_saved(saved: Any, capsys: Any) -> None:
    def run(command: Sequence[str]) -> Outcome:
        problem = "benchmarks.relay: failed with status 1" if command[0] == "relay" else None
        return Outcome([{"scenario": command[0]}], problem)

    status, rows = saved("relay,idle", run=run)
    assert status == 1
    assert [row["scenario"] for row in rows] == ["relay", "idle"]
    assert "suite: benchmarks.relay: failed with status 1\n" in capsys.readouterr().err


def test_what_was_measured_before_an_interruption_is_saved(saved: Any, capsys: Any) -> None:
    def run(command: Sequence[str]) -> Outcome:
        if command[0] == "idle":
            raise KeyboardInterrupt
        return Outcome([{"scenario": command[0]}])

    status, rows = saved("relay,idle,rpc", run=run)
    assert status == 130
    assert [row["scenario"] for row in rows] == ["relay"]
    assert "suite: interrupted\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["relay,relais"], "suite: argument A,B,...: 'relais' is none of fanout,single,latency,"),
        (["--json", "-"], "suite: argument --json: the tables are on the standard output"),
        (["--json", "/no/such/file"], "suite: argument --json: cannot write '/no/such/file': No"),
    ],
)
def test_arguments_that_cannot_be(capsys: Any, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        suite.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(message)


def test_a_real_run_becomes_a_page(saved: Any, tmp_path: Path) -> None:
    status, rows = saved("posix", "--quick")
    assert status == 0
    assert {row["scenario"] for row in rows} == {"posix", "posix-memory"}
    page = tmp_path / "page.html"
    line = [sys.executable, "-m", "benchmarks.dashboard", str(tmp_path / "run.json"), "-o", page]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"dashboard: {len(rows)} rows of 1 file in {page}\n"
    assert rows[0]["machine"] in page.read_text()
