"""A fan-out in which some of the clients do not read: `python -m benchmarks.slow --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product

from benchmarks.ends.speaker import open_connection
from benchmarks.harness import options, table
from benchmarks.harness.build import compiled
from benchmarks.harness.deliveries import Deliveries
from benchmarks.harness.processes import Partner, allow_descriptors, start_server, start_sink
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.harness.wire import Wire
from benchmarks.idle import memory
from benchmarks.peers.slow import PEERS, POLICIES

STUCK_SHARE = 0.1
CHECK_S_MAX = 2.0
ANSWER_S = 60.0
SAMPLE_S = 0.1


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share; of the clients, `stuck` do not read."""

    policy: str
    clients: int
    stuck: int
    size: int


@dataclass(frozen=True)
class Part:
    """A run with the stuck clients or without them: what the others had."""

    others: Deliveries
    pause_s: float
    growth_bytes: int
    dropped: int
    """Messages that "drop_oldest" has cost the others, by what the server tells."""


@dataclass(frozen=True)
class Run:
    """The others alone, then beside the stuck ones."""

    alone: Part
    beside: Part

    @property
    def kept(self) -> float:
        """The rate of the others beside the stuck ones, as a share of theirs alone."""
        return self.deliveries_per_s / self.alone_deliveries_per_s

    @property
    def kept_flowing(self) -> float:
        """The same, but for the longest pause."""
        seconds = self.beside.others.seconds
        return self.kept * seconds / (seconds - self.pause_s)

    @property
    def pause_s(self) -> float:
        return self.beside.pause_s

    @property
    def deliveries_per_s(self) -> float:
        return self.beside.others.deliveries_per_s

    @property
    def alone_deliveries_per_s(self) -> float:
        return self.alone.others.deliveries_per_s

    @property
    def growth_bytes(self) -> int:
        """How much more private memory the server took than without the stuck ones."""
        return max(0, self.beside.growth_bytes - self.alone.growth_bytes)

    @property
    def seconds(self) -> float:
        return self.beside.others.seconds

    @property
    def messages(self) -> int:
        return self.beside.others.messages

    @property
    def sink_cpu_share(self) -> float:
        return self.beside.others.sink_cpu_share

    @property
    def dropped(self) -> int:
        return self.beside.dropped

    @property
    def lost(self) -> int:
        """What the policy has not told of."""
        return sum(part.others.lost - part.dropped for part in (self.alone, self.beside))

    @property
    def corrupt(self) -> int:
        return self.alone.others.corrupt + self.beside.others.corrupt


class Slow(Scenario[Case, Run]):
    name = "slow"
    peers = PEERS
    figures = (
        "kept",
        "kept_flowing",
        "pause_s",
        "deliveries_per_s",
        "alone_deliveries_per_s",
        "growth_bytes",
        "dropped",
        "seconds",
        "messages",
        "sink_cpu_share",
    )
    compared = ("deliveries_per_s",)
    columns = (
        table.share("kept", "kept"),
        table.share("but for\nthe pause", "kept_flowing"),
        table.number("pause\ns", "pause_s"),
        table.per_second("deliveries\n/s", "deliveries_per_s"),
        table.per_second("alone", "alone_deliveries_per_s"),
        table.Column("memory\ngrown", lambda row: f"{row['growth_bytes'] / 1e6:.1f} MB"),
        table.number("dropped", "dropped"),
        table.share("spread", "spread"),
        table.SINK,
        table.Column("lost +\ncorrupt", lambda row: f"{row['lost']} + {row['corrupt']}"),
    )
    seconds = 20.0
    quick_seconds = 2.0

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--policy", type=options.names(POLICIES), default=list(POLICIES), metavar="A,B,..."
        )
        parser.add_argument(
            "--clients", type=options.wholes(2, 10_000), default=[100], metavar="N,..."
        )
        parser.add_argument(
            "--size", type=options.wholes(1, 65_535), default=[64], metavar="BYTES,..."
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        return [
            Case(policy, clients, max(1, round(clients * STUCK_SHARE)), size)
            for policy, clients, size in product(chosen.policy, chosen.clients, chosen.size)
        ]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        allow_descriptors(max(case.clients for case in cases))
        compiled("sink")

    def title(self, case: Case) -> str:
        return f"{case.policy}: {case.stuck} of {case.clients} clients stuck, {case.size} bytes"

    def extras(self, checked: Run) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Run:
        PEERS[peer].require(case.policy)
        length = min(CHECK_S_MAX, seconds) if check else seconds
        alone = run_part(peer, case, 0, length, check=check)
        return Run(alone, run_part(peer, case, case.stuck, length, check=check))


def run_part(peer: str, case: Case, stuck: int, seconds: float, *, check: bool) -> Part:
    """One run with a fresh server, and no warm-up: the stuck ones begin at once."""
    others = case.clients - case.stuck
    wire = PEERS[peer].protocol.listen(case.size)
    with start_server("slow", peer, case.policy) as server:
        port = server.port(PEERS[peer].install)
        server.tell(f"accept {others + stuck}")
        with (
            start_sink(port, others, case.size, wire, check=check) as sink,
            connected(port, stuck, wire) as stuck_ports,
        ):
            sink.answer()
            # From now on it takes every byte at once: otherwise the last few would look as late as
            # a server makes them that waits in vain for the stuck ones.
            sink.ask("await 0")
            server.answer()
            cpu_s = server.cpu_s()
            with sampled(server) as growth:
                command = f"run burst {case.size} {seconds} {int(check)}"
                sent = server.ask(command, seconds + ANSWER_S)
                dropped = sent.get("dropped", {})  # JSON has made the ports strings
                of_others = sum(n for port, n in dropped.items() if int(port) not in stuck_ports)
                if not of_others:  # else they wait for what never comes
                    sink.ask(f"await {sent['messages']}", ANSWER_S)
            cpu_s = server.cpu_s() - cpu_s
            server.end()
            took = sink.ask(f"finish {sent['messages']}", ANSWER_S)
    deliveries = Deliveries.of(sent, took, wire.frame_len(case.size), cpu_s)
    return Part(deliveries, took["pause_s"], growth[-1], of_others)


@contextmanager
def connected(port: int, count: int, wire: Wire) -> Iterator[set[int]]:
    """So many clients that greet the server and then never read; yields their ports."""
    with ExitStack() as clients:
        opened = [clients.enter_context(open_connection(port, wire)) for _ in range(count)]
        yield {client.getsockname()[1] for client in opened}


@contextmanager
def sampled(server: Partner) -> Iterator[list[int]]:
    """By how much the private memory of a server and its helpers grows at most: the last item."""
    pids = [server.pid, *server.helpers]
    before = sum(memory(pid)[0] for pid in pids)
    growth = [0]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            growth.append(max(growth[-1], sum(memory(pid)[0] for pid in pids) - before))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield growth
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(Slow().main())
