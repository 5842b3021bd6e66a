"""One server sends every message to many clients: `python -m benchmarks.fanout --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks import options, table
from benchmarks.build import compiled
from benchmarks.errors import BenchmarkError
from benchmarks.peers.fanout import PEERS
from benchmarks.processes import Partner, allow_descriptors, start_server, start_sink
from benchmarks.scenario import Row, Scenario

MODES = ("burst", "single")
GRID_CLIENTS = [10, 100, 1000]
GRID_SIZES = [64, 1024, 16384]
WARM_UP_S = 0.2
CHECK_S_MAX = 1.0
ANSWER_S = 60.0
"""How long a server or the sink may take for what was published when the time was over."""


@dataclass(frozen=True)
class Setup:
    """The parameters that all peers share."""

    mode: str
    clients: int
    size: int


@dataclass(frozen=True)
class Run:
    """What one run of one peer gave; seconds last until the last byte reached the last client."""

    messages: int
    deliveries: float
    seconds: float
    server_cpu_s: float
    sink_cpu_s: float
    lost: int
    corrupt: int

    @property
    def deliveries_per_s(self) -> float:
        return self.deliveries / self.seconds

    @property
    def us_per_delivery(self) -> float:
        return self.server_cpu_s * 1e6 / self.deliveries

    @property
    def sink_cpu_share(self) -> float:
        return self.sink_cpu_s / self.seconds


class Fanout(Scenario[Setup, Run]):
    name = "fanout"
    peers = PEERS
    figures = (
        "deliveries_per_s",
        "seconds",
        "messages",
        "server_cpu_s",
        "us_per_delivery",
        "sink_cpu_share",
    )
    columns = (
        table.per_second("deliveries\n/s", "deliveries_per_s"),
        table.share("spread", "spread"),
        table.number("µs per\ndelivery", "us_per_delivery"),
        table.number("x limit", "of_limit"),
        table.number("x asyncio", "of_asyncio"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--clients", type=options.wholes(1, 10_000), default=[100], metavar="N,..."
        )
        parser.add_argument(
            "--size", type=options.wholes(1, 65_536), default=[64], metavar="BYTES,..."
        )
        parser.add_argument("--mode", choices=MODES, default="burst")
        grid = f"--clients {_commas(GRID_CLIENTS)} --size {_commas(GRID_SIZES)}"
        parser.add_argument("--grid", action="store_true", help=grid)

    def cases(self, chosen: argparse.Namespace) -> list[Setup]:
        grid = (GRID_CLIENTS, GRID_SIZES) if chosen.grid else (chosen.clients, chosen.size)
        return [Setup(chosen.mode, clients, size) for clients, size in product(*grid)]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Setup]) -> None:
        allow_descriptors(max(setup.clients for setup in cases))
        compiled("sink")

    def title(self, case: Setup) -> str:
        return f"{case.mode}: {case.clients} clients, {case.size} bytes"

    def extras(self, checked: Run) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Setup, seconds: float, *, check: bool) -> Run:
        """A timed run is warmed up; the check reads every byte, from the first one on."""
        PEERS[peer].require(case.mode)
        with start_server(self.name, peer) as server:
            port = server.port(PEERS[peer].install)
            server.tell(f"accept {case.clients}")
            with start_sink(port, case.clients, case.size, check=check) as sink:
                sink.answer()
                server.answer()
                if not check:
                    warm = publish(server, case, min(WARM_UP_S, seconds), check)
                    sink.ask(f"mark {warm['messages']}", ANSWER_S)
                sent = publish(server, case, min(CHECK_S_MAX, seconds) if check else seconds, check)
                server.end()
                took = sink.ask(f"finish {sent['messages']}", ANSWER_S)
        if not took["bytes"]:
            raise BenchmarkError(f"nothing of {sent['messages']} messages arrived")
        return Run(
            messages=sent["messages"],
            deliveries=took["bytes"] / (case.size + 1),
            seconds=took["last_s"] - sent["started_s"],
            server_cpu_s=sent["cpu_s"],
            sink_cpu_s=took["cpu_s"],
            lost=took["lost"],
            corrupt=took["corrupt"],
        )


def publish(server: Partner, setup: Setup, seconds: float, check: bool) -> dict[str, Any]:
    """Lets the server publish for a time; its answer comes when the kernel has everything."""
    command = f"run {setup.mode} {setup.size} {seconds} {int(check)}"
    return server.ask(command, seconds + ANSWER_S)


def _commas(values: list[int]) -> str:
    return ",".join(map(str, values))


if __name__ == "__main__":
    sys.exit(Fanout().main())
