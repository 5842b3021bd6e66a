"""What benchmarks/README.md says of the rows that `--json` writes."""

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from benchmarks.echo import Echo
from benchmarks.fanout_latency import Latency
from benchmarks.fanout_throughput import Throughput
from benchmarks.harness.scenario import Scenario
from benchmarks.idle import Idle
from benchmarks.ingest import Ingest
from benchmarks.relay import Relay
from benchmarks.rpc import Rpc
from benchmarks.slow import Slow

README = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text()
THROUGHPUT = "fanout (burst, single)"


def cells(heading: str) -> list[str]:
    """The row of the table that tells of a scenario."""
    [line] = [line for line in README.splitlines() if line.startswith(f"| {heading} | `")]
    return line.split("|")[2:-1]


@pytest.mark.parametrize(
    ("heading", "scenario"),
    [
        (THROUGHPUT, Throughput),
        ("fanout (latency)", Latency),
        ("relay", Relay),
        ("slow", Slow),
        ("echo", Echo),
        ("ingest", Ingest),
        ("idle", Idle),
        ("rpc", Rpc),
    ],
)
def test_the_figures_of_every_scenario_are_told(
    heading: str, scenario: type[Scenario[Any, Any]]
) -> None:
    case, figures, compared = cells(heading)
    if "as fanout" in figures:
        _, figures, compared = cells(THROUGHPUT)
    [base] = scenario.__orig_bases__  # type: ignore[attr-defined]
    assert words(case) == [field.name for field in fields(get_args(base)[0])]
    assert words(figures) == list(scenario.figures)
    assert words(compared) == list(scenario.compared)


def words(cell: str) -> list[str]:
    """What stands between backticks."""
    return cell.split("`")[1::2]
