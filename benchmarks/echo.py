"""Clients ask, and the server answers with the same: `python -m benchmarks.echo --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import options, table
from benchmarks.harness.build import compiled
from benchmarks.harness.processes import Partner, allow_descriptors, start_load, start_server
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.peers.echo import PEERS

TRANSPORTS = ("tcp", "unix")
MODES = ("blocking", "busy")
WARM_UP_S = 0.2
PATIENCE_S = 10.0
"""How long an answer may take that has not come when the time is over."""

ANSWER_S = 30.0
"""How long a process may take for what is left then."""


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share."""

    transport: str
    mode: str
    clients: int
    size: int


@dataclass(frozen=True)
class Run:
    """What one run of one peer gave; `server_cpu_s` is for `served` requests, warm-up included."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    p999_us: float
    served: int
    server_cpu_s: float
    sink_cpu_s: float
    lost: int
    corrupt: int

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def us_per_request(self) -> float:
        return self.server_cpu_s * 1e6 / self.served

    @property
    def sink_cpu_share(self) -> float:
        return self.sink_cpu_s / self.seconds


class Echo(Scenario[Case, Run]):
    name = "echo"
    peers = PEERS
    figures = (
        "requests_per_s",
        "p50_us",
        "p99_us",
        "p999_us",
        "us_per_request",
        "seconds",
        "requests",
        "sink_cpu_share",
    )
    compared = ("p50_us", "p99_us", "us_per_request")
    columns = (
        table.per_second("requests\n/s", "requests_per_s"),
        table.share("spread", "spread"),
        table.number("x limit", "of_limit"),
        table.number("p50\nµs", "p50_us"),
        table.number("p50 of\nlimit", "p50_us_of_limit"),
        table.number("p99\nµs", "p99_us"),
        table.number("p99.9\nµs", "p999_us"),
        table.number("CPU µs per\nrequest", "us_per_request"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )
    seconds = 2.0

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--transport", type=options.names(TRANSPORTS), default=list(TRANSPORTS), metavar="A,B"
        )
        parser.add_argument("--mode", type=options.names(MODES), default=list(MODES), metavar="A,B")
        parser.add_argument(
            "--clients", type=options.wholes(1, 10_000), default=[1, 100], metavar="N,..."
        )
        parser.add_argument(
            "--size", type=options.wholes(1, 65_536), default=[64], metavar="BYTES,..."
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        grid = product(chosen.transport, chosen.mode, chosen.clients, chosen.size)
        return [Case(*values) for values in grid]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        allow_descriptors(max(case.clients for case in cases))
        compiled("echo_load")

    def title(self, case: Case) -> str:
        clients = f"{case.clients} client{'s' if case.clients > 1 else ''}"
        return f"{case.transport}, {case.mode}: {clients}, {case.size} bytes"

    def extras(self, checked: Run) -> Row:
        return {"verified_messages": checked.requests}

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        """A timed run is warmed up. Both compare every byte, so the check is a short one."""
        PEERS[peer].require(case.mode)
        with TemporaryDirectory() as directory, start_server(self.name, peer) as server:
            server.port(PEERS[peer].install)
            where = "tcp" if case.transport == "tcp" else str(Path(directory) / "echo")
            address = server.ask(f"listen {where} {case.mode}")["address"]
            server.tell(f"serve {case.clients}")
            with start_load("echo_load", address, case.clients, case.size, case.mode) as load:
                load.answer()
                warm = ask(load, min(WARM_UP_S, seconds))
                took = warm if check else ask(load, seconds)
            served = took["requests"] + (0 if check else warm["requests"])
            cpu_s = server.answer(ANSWER_S)["cpu_s"]
        return Run(
            requests=took["requests"],
            seconds=took["seconds"],
            p50_us=took["p50_us"],
            p99_us=took["p99_us"],
            p999_us=took["p999_us"],
            served=served,
            server_cpu_s=cpu_s,
            sink_cpu_s=took["cpu_s"],
            lost=took["lost"],
            corrupt=took["corrupt"],
        )


def ask(load: Partner, seconds: float) -> dict[str, Any]:
    """Lets the clients ask for a time; the answer comes when all that was asked is answered."""
    return load.ask(f"run {seconds} {PATIENCE_S}", seconds + ANSWER_S)


if __name__ == "__main__":
    sys.exit(Echo().main())
