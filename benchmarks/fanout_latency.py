"""One server sends every message to many clients, each when it is due, however late it is by then.

The pace is a share of what limit reaches in the mode single. What is measured and how each peer
is used stands in benchmarks/README.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

from benchmarks.fanout_throughput import ANSWER_S, Setup, Throughput, add_arguments, grid
from benchmarks.harness import table
from benchmarks.harness.build import compiled
from benchmarks.harness.processes import allow_descriptors, start_load, start_server
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.peers.fanout import PEERS

SATURATION_RUNS = 3
SATURATION_S_MAX = 1.0
WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Pace:
    """The parameters that all peers share; load is a share of limit's saturation."""

    mode: str
    clients: int
    size: int
    load: float


@dataclass(frozen=True)
class Run:
    """Latencies from when a message was due until the first and the last client had it."""

    last_p50_us: float
    last_p99_us: float
    first_p50_us: float
    first_p99_us: float
    messages: int
    messages_per_s: float
    sink_cpu_share: float
    lost: int
    corrupt: int


class Latency(Scenario[Pace, Run]):
    name = "fanout"
    peers = PEERS
    figures = (
        "last_p50_us",
        "last_p99_us",
        "first_p50_us",
        "first_p99_us",
        "messages",
        "messages_per_s",
        "sink_cpu_share",
    )
    compared = ("last_p99_us", "first_p50_us", "first_p99_us")
    columns = (
        table.number("first\np50 µs", "first_p50_us"),
        table.number("\np99 µs", "first_p99_us"),
        table.number("last\np50 µs", "last_p50_us"),
        table.number("\np99 µs", "last_p99_us"),
        table.share("spread", "spread"),
        table.number("x limit\np50", "of_limit"),
        table.number("\np99", "last_p99_us_of_limit"),
        table.number("x uvloop\np50", "of_uvloop"),
        table.number("\np99", "last_p99_us_of_uvloop"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )

    def __init__(self) -> None:
        self.saturation: dict[Setup, float] = {}

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        add_arguments(parser)

    def cases(self, chosen: argparse.Namespace) -> list[Pace]:
        return [
            Pace("latency", clients, size, percent / 100)
            for (clients, size), percent in product(grid(chosen), chosen.load)
        ]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Pace]) -> None:
        """Measures limit, in the same run as all that is paced by it."""
        allow_descriptors(max(case.clients for case in cases))
        compiled("latency_load")
        seconds = min(SATURATION_S_MAX, chosen.seconds)
        for setup in {Setup("single", case.clients, case.size) for case in cases}:
            runs = [
                Throughput().run("limit", setup, seconds, check=False)
                for _ in range(SATURATION_RUNS)
            ]
            self.saturation[setup] = median(run.messages / run.seconds for run in runs)

    def title(self, case: Pace) -> str:
        return f"latency at {case.load:.0%}: {case.clients} clients, {case.size} bytes"

    def extras(self, checked: Run) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Pace, seconds: float, *, check: bool) -> Run:
        """The same with check: every byte is always compared."""
        PEERS[peer].require(case.mode)
        rate = case.load * self.saturation[Setup("single", case.clients, case.size)]
        planned = max(1, int(rate * seconds))
        with start_server(self.name, peer) as server:
            port = server.port(PEERS[peer].install)
            server.tell(f"accept {case.clients}")
            with start_load("latency_load", port, case.clients, case.size, planned) as load:
                load.answer()
                server.answer()
                command = f"pace {case.size} {planned} {rate}"
                sent = server.ask(command, seconds + ANSWER_S)
                skipped = int(WARM_UP_SHARE * planned)
                command = f"finish {planned} {sent['started_s']} {rate} {skipped}"
                took = load.ask(command, ANSWER_S)
        busy_s = took.pop("busy_s")
        return Run(
            **took,
            messages=planned,
            messages_per_s=rate,
            sink_cpu_share=busy_s * rate / planned,
        )
