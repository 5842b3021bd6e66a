"""The gate: what passes, what fails and how it says so; and that floors.toml means real rows."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planned import planned, suite_commands

from benchmarks import floors, gate
from benchmarks.floors import Case, matches
from benchmarks.harness.runs import Outcome, run

ROOT = Path(__file__).parents[2]
ROW = {"scenario": "s", "peer": "fastsock", "of_redis": 4.0, "us_per_message_of_redis": 0.2}
FLOORS = """
[[case]]
title = "A case"
command = "s --quick"
row = { scenario = "s", peer = "fastsock" }
[case.ratios]
of_redis = { floor = 3, aim = 5 }
"""
OWN = "us_per_message_of_redis = { ceiling = 0.5 }\n"


@pytest.fixture
def judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str, int]]:
    """Runs the gate over commands that give these rows, one list after the other."""

    def judged(*runs: list[dict[str, Any]], text: str = FLOORS, problem: str | None = None) -> Any:
        path = tmp_path / "floors.toml"
        path.write_text(text)
        left = iter(runs)
        begun = []

        def command(line: tuple[str, ...]) -> Outcome:
            begun.append(line)
            return Outcome(next(left), problem)

        status = gate.main(["--floors", str(path)], run=command)
        out, err = capsys.readouterr()
        assert begun == [("s", "--quick")] * len(begun)
        return status, out, err, len(begun)

    return judged


def line(out: str, ratio: str) -> str:
    """The line of the table that begins with a ratio's name."""
    [found] = [line for line in out.splitlines() if line.split()[:1] == [ratio]]
    return " ".join(found.split())


# ---- Verdicts ----


def test_what_lies_above_its_floor_passes(judge: Any) -> None:
    status, out, err, runs = judge([ROW])
    assert (status, err, runs) == (0, "", 1)
    assert line(out, "of_redis") == "of_redis 4.00 at least 3.00 passed"
    assert "gate: 1 of 1 ratios judged, none misses its bound" in out


def test_what_fails_twice_fails_the_gate(judge: Any) -> None:
    status, out, err, runs = judge([ROW | {"of_redis": 2.0}], [ROW | {"of_redis": 2.5}])
    assert (status, runs) == (1, 2)
    assert "A case" in out
    assert line(out, "of_redis") == "of_redis 2.50 at least 3.00 FAILED"
    assert "once more: s --quick" in err
    assert "gate: 1 of 1 ratios miss their bounds, twice" in err


def test_what_fails_once_passes(judge: Any) -> None:
    status, out, _, runs = judge([ROW | {"of_redis": 2.0}], [ROW])
    assert (status, runs) == (0, 2)
    assert line(out, "of_redis") == "of_redis 4.00 at least 3.00 passed"


def test_a_second_run_does_not_fail_what_has_passed(judge: Any) -> None:
    worse = ROW | {"us_per_message_of_redis": 0.9}
    status, out, _, runs = judge([ROW | {"of_redis": 2.0}], [worse], text=FLOORS + OWN)
    assert (status, runs) == (0, 2)


def test_of_times_less_is_better(judge: Any) -> None:
    slower = ROW | {"us_per_message_of_redis": 0.6}
    status, out, _, _ = judge([slower], [slower], text=FLOORS + OWN)
    assert status == 1
    expected = "us_per_message_of_redis 0.60 at most 0.50 FAILED"
    assert line(out, "us_per_message_of_redis") == expected


# ---- What is not judged ----


@pytest.mark.parametrize("whose", ["fastsock", "redis"])
def test_rates_are_not_judged_where_the_load_set_the_pace(judge: Any, whose: str) -> None:
    rows = [ROW | {"of_redis": 1.0}, {"scenario": "s", "peer": "redis"}]
    rows = [row | {"sink_bound": row["peer"] == whose} for row in rows]
    status, out, err, _ = judge(rows, text=FLOORS + OWN)
    assert (status, err) == (0, "")
    assert line(out, "of_redis") == "of_redis 1.00 at least 3.00 not judged: sink-bound"
    assert "0.20 at most 0.50 passed" in line(out, "us_per_message_of_redis")
    assert "gate: 1 of 2 ratios judged" in out


def test_a_case_of_which_nothing_is_judged_is_named(judge: Any) -> None:
    other = FLOORS.replace("A case", "Another case").replace('"s"', '"t"')
    rows = [ROW | {"sink_bound": True}, ROW | {"scenario": "t"}]
    status, _, err, _ = judge(rows, text=FLOORS + other)
    assert (status, err) == (0, "gate: A case: no ratio of this case was judged\n")


def test_who_judges_nothing_fails(judge: Any) -> None:
    status, out, err, _ = judge([ROW | {"of_redis": None}])
    assert status == 1
    assert line(out, "of_redis") == "of_redis at least 3.00 not judged: peer absent"
    assert "gate: no ratio could be judged" in err


# ---- What cannot be judged ----


def test_a_command_that_fails_twice_fails_the_gate(judge: Any) -> None:
    status, _, err, runs = judge([ROW], [ROW], problem="benchmarks.s --quick: failed")
    assert (status, runs) == (1, 2)
    assert "gate: benchmarks.s --quick: failed, twice" in err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "'A case' matches 0 rows, not one: scenario = 's', peer = 'fastsock'"),
        ([ROW, ROW], "'A case' matches 2 rows, not one: scenario = 's', peer = 'fastsock'"),
        ([{"scenario": "s", "peer": "fastsock"}], "'A case': its row has no 'of_redis'"),
    ],
)
def test_rows_that_are_not_meant(judge: Any, rows: list[dict[str, Any]], message: str) -> None:
    status, _, err, _ = judge(rows, rows)
    assert status == 1
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has to hold [[case]] tables and nothing else"),
        ("[case", "is no TOML: "),
        (FLOORS.replace("title", "titel"), "case 1 has"),
        (FLOORS.replace('"s --quick"', "1"), "case 1: command is 1, not a string"),
        (FLOORS.replace("of_redis", "us"), "'A case': us is no ratio: an absolute figure"),
        (FLOORS.replace("floor = 3, ", ""), "'A case': of_redis is {'aim': 5}, not { floor or"),
        (FLOORS.replace("3", "-3"), "'A case': of_redis: floor is -3, not a number above 0"),
        (FLOORS.replace("3", '"3"'), "'A case': of_redis: floor is '3', not a number above 0"),
    ],
)
def test_floors_that_cannot_be(judge: Any, text: str, message: str) -> None:
    status, out, err, runs = judge(text=text)
    assert (status, out, runs) == (2, "", 0)
    assert err.startswith("gate: ")
    assert message in err
    assert err.count("\n") == 1


def test_no_such_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main(["--floors", "/no/floors"]) == 2
    assert "gate: cannot read /no/floors: No such file" in capsys.readouterr().err


def test_a_floor_that_a_real_run_cannot_reach(tmp_path: Path) -> None:
    """The whole command, in which limit stands for the peer."""
    path = tmp_path / "floors.toml"
    path.write_text(
        """
        [[case]]
        title = "Out of reach"
        command = "fanout --clients 2 --seconds 0.05 --repeats 1 --peers fastsock,limit"
        row = { scenario = "fanout", clients = 2, peer = "fastsock" }
        ratios = { of_limit = { floor = 1000 }, of_fastsock = { floor = 1 } }
        """
    )
    line = [sys.executable, "-m", "benchmarks.gate", "--floors", str(path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 1
    assert "Out of reach" in done.stdout
    assert "at least 1,000" in done.stdout
    assert "FAILED" in done.stdout
    assert "gate: 1 of 2 ratios miss their bounds, twice" in done.stderr


# ---- floors.toml ----

CASES = [case for case in floors.load() if case.row["scenario"] != "posix"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_every_floor_is_of_a_row_that_its_command_and_the_suite_give(case: Case) -> None:
    rows = list(planned(case.command))
    [scenario] = [scenario for row, scenario in rows if matches(row, case.row)]
    for quick in True, False:
        given = [row for command in suite_commands(quick=quick) for row, _ in planned(command)]
        assert len([row for row in given if matches(row, case.row)]) == 1
    peers = {row["peer"] for row, _ in rows}
    for ratio in case.ratios:
        assert ratio.other in {*peers, "itself"}, ratio.field
        known = {"", *scenario.compared, *floors.SHARES}
        assert ratio.figure in known, ratio.field


def test_every_posix_floor_is_of_a_row(tmp_path: Path) -> None:
    cases = [case for case in floors.load() if case.row["scenario"] == "posix"]
    outcome = run(["posix", "--seconds", "0.01"])
    assert outcome.problem is None
    for case in cases:
        judged = floors.judge(case, outcome.rows)
        assert all(one.value for one in judged)


def test_no_case_can_be_left_out_as_a_whole_because_the_load_is_busy() -> None:
    for case in CASES:
        if case.row["scenario"] in ("echo", "ingest") and case.row["clients"] > 1:
            assert any(ratio.figure.startswith(floors.SERVERS_OWN) for ratio in case.ratios)
