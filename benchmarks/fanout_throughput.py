"""One server sends every message to many clients, as fast as it can.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.harness import options
from benchmarks.harness.build import compiled
from benchmarks.harness.deliveries import COLUMNS, FIGURES, Deliveries
from benchmarks.harness.processes import Partner, allow_descriptors, start_server, start_sink
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.peers.fanout import PEERS

MODES = ("burst", "single", "latency")
GRID_CLIENTS = [10, 100, 1000]
GRID_SIZES = [64, 1024, 16384]
LOADS = [10, 50, 80]
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


class Throughput(Scenario[Setup, Deliveries]):
    name = "fanout"
    peers = PEERS
    figures = FIGURES
    columns = COLUMNS

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        add_arguments(parser)

    def cases(self, chosen: argparse.Namespace) -> list[Setup]:
        return [Setup(chosen.mode, clients, size) for clients, size in grid(chosen)]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Setup]) -> None:
        allow_descriptors(max(setup.clients for setup in cases))
        compiled("sink")

    def title(self, case: Setup) -> str:
        return f"{case.mode}: {case.clients} clients, {case.size} bytes"

    def extras(self, checked: Deliveries) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Setup, seconds: float, *, check: bool) -> Deliveries:
        """A timed run is warmed up; the check reads every byte, from the first one on."""
        PEERS[peer].require(case.mode)
        wire = PEERS[peer].protocol.listen(case.size)
        with start_server(self.name, peer) as server:
            port = server.port(PEERS[peer].install)
            server.tell(f"accept {case.clients}")
            with start_sink(port, case.clients, case.size, wire, check=check) as sink:
                sink.answer()
                server.answer()
                if not check:
                    warm = publish(server, case, min(WARM_UP_S, seconds), check)
                    sink.ask(f"mark {warm['messages']}", ANSWER_S)
                cpu_s = server.cpu_s()
                sent = publish(server, case, min(CHECK_S_MAX, seconds) if check else seconds, check)
                sink.ask(f"await {sent['messages']}", ANSWER_S)
                cpu_s = server.cpu_s() - cpu_s
                server.end()
                took = sink.ask(f"finish {sent['messages']}", ANSWER_S)
        return Deliveries.of(sent, took, wire.frame_len(case.size), cpu_s)


def publish(server: Partner, setup: Setup, seconds: float, check: bool) -> dict[str, Any]:
    """Lets the server publish for a time; its answer comes when the kernel has everything."""
    command = f"run {setup.mode} {setup.size} {seconds} {int(check)}"
    return server.ask(command, seconds + ANSWER_S)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of all modes."""
    parser.add_argument("--clients", type=options.wholes(1, 10_000), default=[100], metavar="N,...")
    parser.add_argument("--size", type=options.wholes(1, 65_535), default=[64], metavar="BYTES,...")
    parser.add_argument("--mode", choices=MODES, default="burst")
    shorthand = f"--clients {_commas(GRID_CLIENTS)} --size {_commas(GRID_SIZES)}"
    parser.add_argument("--grid", action="store_true", help=shorthand)
    percent = "of what limit reaches in the mode single; for the mode latency (10,50,80)"
    parser.add_argument(
        "--load", type=options.wholes(1, 100), default=LOADS, metavar="PERCENT,...", help=percent
    )


def grid(chosen: argparse.Namespace) -> list[tuple[int, int]]:
    """The numbers of clients and the sizes that the command line asks for."""
    if chosen.grid:
        return list(product(GRID_CLIENTS, GRID_SIZES))
    return list(product(chosen.clients, chosen.size))


def _commas(values: list[int]) -> str:
    return ",".join(map(str, values))
