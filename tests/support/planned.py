"""The rows that a command of the benchmarks gives, told without running it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.echo import Echo
from benchmarks.fanout_latency import Latency
from benchmarks.fanout_throughput import Throughput
from benchmarks.harness.scenario import Scenario
from benchmarks.idle import Idle
from benchmarks.ingest import Ingest
from benchmarks.relay import Relay
from benchmarks.rpc import Rpc
from benchmarks.slow import Slow
from benchmarks.suite import PARTS

SCENARIOS: dict[str, Callable[[], Scenario[Any, Any]]] = {
    "fanout": Throughput,
    "relay": Relay,
    "slow": Slow,
    "echo": Echo,
    "ingest": Ingest,
    "idle": Idle,
    "rpc": Rpc,
}
"""All but posix, which has no cases that its command line tells."""


def suite_commands(*, quick: bool) -> list[list[str]]:
    """The commands of the suite that `planned` understands."""
    forms = [part.quick if quick else part.full for part in PARTS.values()]
    return [form.split() for form in forms if form.split()[0] in SCENARIOS]


def planned(command: Sequence[str]) -> Iterator[tuple[dict[str, Any], Scenario[Any, Any]]]:
    """Each row of a command, without its figures, and the scenario that gives it."""
    name, *arguments = command
    scenario = Latency() if "latency" in arguments else SCENARIOS[name]()
    chosen = scenario.parse(arguments)
    for case in scenario.cases(chosen):
        for peer in chosen.peers:
            yield {"scenario": name, "peer": peer, **asdict(case)}, scenario
