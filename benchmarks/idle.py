"""Many connections, each used once and then silent: `python -m benchmarks.idle --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks.harness import options, table
from benchmarks.harness.build import compiled
from benchmarks.harness.processes import Partner, allow_descriptors, start_load, start_server
from benchmarks.harness.scenario import Scenario
from benchmarks.peers.idle import PEERS

BASE_SHARE = 10
"""Memory is a slope: from a tenth of the connections to all of them."""

PATIENCE_S = 30.0
"""How long clients wait for what is due to them, until they call it lost."""

ANSWER_S = 60.0


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share."""

    clients: int

    @property
    def base(self) -> int:
        return self.clients // BASE_SHARE


@dataclass(frozen=True)
class Run:
    """What one run of one peer gave. Bytes are per connection, and so is us_per_accept."""

    accepts_per_s: float
    us_per_accept: float
    private_bytes: float
    kernel_bytes: float
    broadcast_ms: float
    us_per_delivery: float
    broadcasts: int
    sink_cpu_share: float
    lost: int
    corrupt: int


class Idle(Scenario[Case, Run]):
    name = "idle"
    peers = PEERS
    figures = (
        "accepts_per_s",
        "us_per_accept",
        "private_bytes",
        "kernel_bytes",
        "broadcast_ms",
        "us_per_delivery",
        "broadcasts",
        "sink_cpu_share",
    )
    compared = ("private_bytes", "us_per_accept", "broadcast_ms")
    columns = (
        table.number("private\nbytes", "private_bytes"),
        table.number("of\nasyncio", "private_bytes_of_asyncio"),
        table.number("kernel\nbytes", "kernel_bytes"),
        table.per_second("accepts\n/s", "accepts_per_s"),
        table.share("spread", "spread"),
        table.number("CPU µs per\naccept", "us_per_accept"),
        table.number("ms to tell\nall", "broadcast_ms"),
        table.number("of\nlimit", "broadcast_ms_of_limit"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )
    seconds = 1.0
    quick_seconds = 0.2

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--clients", type=options.wholes(100, 50_000), default=[10_000], metavar="N,..."
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        return [Case(clients) for clients in chosen.clients]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        allow_descriptors(max(case.clients for case in cases))
        compiled("idle_load")

    def title(self, case: Case) -> str:
        return f"{case.clients} clients, memory from {case.base} on"

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        """The same with check: every byte is always compared. It has fewer clients."""
        clients = case.base if check else case.clients
        with start_server(self.name, peer) as server:
            port = server.port(PEERS[peer].install)
            with start_load("idle_load", port) as load:
                load.answer()
                first = grow(server, load, clients // BASE_SHARE)
                before = memory(server.pid)
                rest = grow(server, load, clients)
                after = memory(server.pid)
                told = tell_all(server, load, seconds)
                load.end()
        added = clients - clients // BASE_SHARE
        return Run(
            accepts_per_s=added / rest["seconds"],
            us_per_accept=rest["server_cpu_s"] * 1e6 / added,
            private_bytes=(after[0] - before[0]) / added,
            kernel_bytes=(after[1] - before[1]) / added,
            broadcast_ms=median(each["seconds"] for each in told) * 1e3,
            us_per_delivery=median(each["server_cpu_s"] for each in told) * 1e6 / clients,
            broadcasts=len(told),
            sink_cpu_share=rest["cpu_s"] / rest["seconds"],
            lost=sum(each["lost"] for each in [first, rest, *told]),
            corrupt=sum(each["corrupt"] for each in [first, rest, *told]),
        )


def grow(server: Partner, load: Partner, clients: int) -> dict[str, Any]:
    """Returns once so many clients in all are connected, and have had their answer."""
    server.tell(f"grow {clients}")
    took = load.ask(f"grow {clients} {PATIENCE_S}", ANSWER_S)
    return took | {"server_cpu_s": server.answer(ANSWER_S)["cpu_s"]}


def tell_all(server: Partner, load: Partner, seconds: float) -> list[dict[str, Any]]:
    """Broadcasts one message after the other for a time, each when all clients have the last."""
    told: list[dict[str, Any]] = []
    until = monotonic() + seconds
    for number in count():
        load.tell(f"await {number} {PATIENCE_S}")
        sent = server.ask(f"broadcast {number}", ANSWER_S)
        took = load.answer(ANSWER_S)
        took |= {"seconds": took["last_s"] - sent["started_s"], "server_cpu_s": sent["cpu_s"]}
        told.append(took)
        if monotonic() > until:
            break
    return told


def memory(pid: int) -> tuple[int, int]:
    """Bytes of memory that only this process has, and that the kernel cannot give back.

    The latter (SUnreclaim of proc_meminfo(5)) is the whole machine's: a connection has both of its
    ends in it, and whatever else begins or ends meanwhile disturbs it.
    """
    own = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(kib) for kib in re.findall(r"^Private_\w+: +(\d+) kB", own, re.MULTILINE))
    kernel = re.search(r"^SUnreclaim: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert kernel is not None, "proc_meminfo(5) has it since Linux 2.6.19"
    return private * 1024, int(kernel[1]) * 1024


if __name__ == "__main__":
    sys.exit(Idle().main())
