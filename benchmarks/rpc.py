"""A client calls a procedure of a server: `python -m benchmarks.rpc --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import options, table
from benchmarks.harness.build import compiled
from benchmarks.harness.processes import Partner, cores, start_load, start_server
from benchmarks.harness.scenario import Scenario
from benchmarks.peers.rpc import PEERS

ARRAY_BYTES = 8_000_000
FRAME_BYTES = {"null": 29, "pooled": 29, "busy": 29, "pipelined": 34, "array": ARRAY_BYTES}
"""The bytes that the bar sends for a call, and gets for it: those of fastsock's frames, which are
shorter than its peers', and of an array alone."""

WARM_UP_S = 0.2
CHECK_S = 0.3
ANSWER_S = 60.0
"""How long a client may take beyond the time that it measures."""


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share; depth is how many calls are under way at once."""

    case: str
    depth: int


@dataclass(frozen=True)
class Run:
    """What one run of one peer gave; a latency is that of `depth` calls."""

    calls: int
    seconds: float
    p50_us: float
    p99_us: float
    wrong: int
    call_bytes: int
    """Bytes of the array that a call carries, in both directions together."""

    @property
    def calls_per_s(self) -> float:
        return self.calls / self.seconds

    @property
    def mb_per_s(self) -> float:
        return self.calls_per_s * self.call_bytes / 1e6


class Rpc(Scenario[Case, Run]):
    name = "rpc"
    peers = PEERS
    figures = ("calls_per_s", "p50_us", "p99_us", "mb_per_s", "seconds", "calls")
    compared = ("p50_us", "p99_us")
    faults = ("wrong",)
    columns = (
        table.per_second("calls\n/s", "calls_per_s"),
        table.share("spread", "spread"),
        table.number("x limit", "of_limit"),
        table.number("p50\nµs", "p50_us"),
        table.number("p50 of\nlimit", "p50_us_of_limit"),
        table.number("p99\nµs", "p99_us"),
        table.Column("MB/s", lambda row: table.digits(row["mb_per_s"] or None)),
        table.Column("wrong", lambda row: str(row["wrong"])),
    )
    seconds = 1.0
    quick_seconds = 0.2

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--case", type=options.names(FRAME_BYTES), default=list(FRAME_BYTES), metavar="A,B,..."
        )
        parser.add_argument(
            "--depth",
            type=options.whole(1, 1024),
            default=256,
            metavar="N",
            help="calls under way at once, of the case pipelined (256)",
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        return [Case(case, chosen.depth if case == "pipelined" else 1) for case in chosen.case]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        compiled("rpc_load")

    def title(self, case: Case) -> str:
        return f"{case.case}, {case.depth} at once" if case.case == "pipelined" else case.case

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        """Each answer is compared in timed runs, too: the check is a short run."""
        PEERS[peer].require(case.case)
        seconds = min(seconds, CHECK_S) if check else seconds
        times = (0.0 if check else min(WARM_UP_S, seconds)), seconds
        frame = FRAME_BYTES[case.case], "busy" if case.case == "busy" else "blocking"
        with start_server(self.name, peer) as server:
            server.port(PEERS[peer].install)
            asked = " ".join(map(str, frame)) if peer == "limit" else case.case
            port = server.ask(f"listen {asked}")["port"]
            if peer == "limit":
                client = start_load("rpc_load", port, frame[0], case.depth, frame[1], *times)
            else:
                client = start_client(peer, port, case.case, case.depth, *times)
            with client:
                took = client.answer(sum(times) + ANSWER_S)
        return Run(**took, call_bytes=2 * ARRAY_BYTES if case.case == "array" else 0)


def start_client(peer: str, *arguments: object) -> Partner:
    """A fresh process for the client of a peer (rpc_client.py), on the clients' core."""
    command = [sys.executable, "-m", "benchmarks.ends.rpc_client", peer, *map(str, arguments)]
    return Partner(f"{peer} client", command, cores()[1])


if __name__ == "__main__":
    sys.exit(Rpc().main())
