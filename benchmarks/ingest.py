"""Many clients talk, and Python takes every message: `python -m benchmarks.ingest --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from benchmarks.harness import options, table
from benchmarks.harness.build import compiled
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.processes import Partner, allow_descriptors, start_load, start_server
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.peers.ingest import PEERS

WARM_UP_S = 0.2
CHECK_S_MAX = 0.3
PATIENCE_S = 30.0
"""How long a server may leave clients waiting who have to say the rest of a batch."""

ANSWER_S = 60.0
"""How long a server may take for what was said when the time was over."""


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share."""

    clients: int
    size: int
    batch: int


@dataclass(frozen=True)
class Run:
    """What one run of one peer gave, from the first send until the last end of a stream."""

    messages: int
    seconds: float
    server_cpu_s: float
    sink_cpu_share: float
    lost: int
    corrupt: int

    @property
    def messages_per_s(self) -> float:
        return self.messages / self.seconds

    @property
    def us_per_message(self) -> float:
        return self.server_cpu_s * 1e6 / self.messages


class Ingest(Scenario[Case, Run]):
    name = "ingest"
    peers = PEERS
    figures = ("messages_per_s", "us_per_message", "seconds", "messages", "sink_cpu_share")
    compared = ("us_per_message",)
    columns = (
        table.per_second("messages\n/s", "messages_per_s"),
        table.share("spread", "spread"),
        table.number("µs per\nmessage", "us_per_message"),
        table.number("x limit", "of_limit"),
        table.number("x asyncio", "of_asyncio"),
        table.number("x uvloop", "of_uvloop"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )
    seconds = 2.0

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--clients", type=options.wholes(1, 10_000), default=[100], metavar="N,..."
        )
        parser.add_argument(
            "--size", type=options.wholes(1, 65_536), default=[64], metavar="BYTES,..."
        )
        parser.add_argument(
            "--batch",
            type=options.wholes(1, 4096),
            default=[16],
            metavar="N,...",
            help="messages that a client hands to its kernel in one call (16)",
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        return [Case(*values) for values in product(chosen.clients, chosen.size, chosen.batch)]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        allow_descriptors(max(case.clients for case in cases))
        compiled("ingest_load")

    def title(self, case: Case) -> str:
        return f"{case.clients} clients, {case.size} bytes, {case.batch} messages a call"

    def extras(self, checked: Run) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        """A timed run is warmed up by other clients, who have gone when it begins."""
        with start_server(self.name, peer) as server:
            port = server.port(PEERS[peer].install)
            if check:
                return talk(server, port, case, min(CHECK_S_MAX, seconds), check=True)
            talk(server, port, case, min(WARM_UP_S, seconds), check=False)
            return talk(server, port, case, seconds, check=False)


def talk(server: Partner, port: int, case: Case, seconds: float, *, check: bool) -> Run:
    """Lets fresh clients talk for a time, and the server take it all."""
    server.tell(f"receive {case.clients} {case.size} {int(check)}")
    with start_load("ingest_load", port, case.clients, case.size, case.batch) as load:
        load.answer()
        said = load.ask(f"run {seconds} {PATIENCE_S}", seconds + ANSWER_S)
        took = server.answer(ANSWER_S)
    if not took["messages"]:
        raise BenchmarkError(f"none of {said['messages']} messages arrived")
    surplus = took["bytes"] - took["messages"] * case.size
    return Run(
        messages=took["messages"],
        seconds=took["last_s"] - said["started_s"],
        server_cpu_s=took["cpu_s"],
        sink_cpu_share=said["cpu_s"] / said["seconds"],
        lost=max(0, said["messages"] - took["messages"]),
        corrupt=took["corrupt"] + max(0, took["messages"] - said["messages"]) + (surplus != 0),
    )


if __name__ == "__main__":
    sys.exit(Ingest().main())
