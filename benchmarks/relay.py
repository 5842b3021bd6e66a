"""One client publishes, the server relays to all others: `python -m benchmarks.relay --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from benchmarks.harness import options
from benchmarks.harness.build import compiled
from benchmarks.harness.deliveries import COLUMNS, FIGURES, Deliveries
from benchmarks.harness.processes import allow_descriptors, start_server, start_sink, start_speaker
from benchmarks.harness.scenario import Row, Scenario
from benchmarks.peers.relay import PEERS

WARM_UP_S = 0.2
CHECK_S_MAX = 1.0
ANSWER_S = 60.0


@dataclass(frozen=True)
class Case:
    """The parameters that all peers share."""

    clients: int
    size: int


class Relay(Scenario[Case, Deliveries]):
    name = "relay"
    peers = PEERS
    figures = FIGURES
    columns = COLUMNS

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--clients", type=options.wholes(1, 10_000), default=[100], metavar="N,..."
        )
        parser.add_argument(
            "--size", type=options.wholes(1, 65_535), default=[64], metavar="BYTES,..."
        )

    def cases(self, chosen: argparse.Namespace) -> list[Case]:
        return [Case(clients, size) for clients, size in product(chosen.clients, chosen.size)]

    def prepare(self, chosen: argparse.Namespace, cases: Sequence[Case]) -> None:
        allow_descriptors(max(case.clients for case in cases) + 1)
        compiled("sink")

    def title(self, case: Case) -> str:
        return f"{case.clients} clients, {case.size} bytes"

    def extras(self, checked: Deliveries) -> Row:
        return {"verified_messages": checked.messages}

    def run(self, peer: str, case: Case, seconds: float, *, check: bool) -> Deliveries:
        """A timed run is warmed up; the check reads every byte, from the first one on."""
        protocol = PEERS[peer].protocol
        wire = protocol.listen(case.size)
        with start_server(self.name, peer) as server:
            hello = server.hello(PEERS[peer].install)
            server.tell(f"relay {case.clients}")
            with start_sink(hello["port"], case.clients, case.size, wire, check=check) as sink:
                sink.answer()
                server.answer()
                port = hello.get("speaker_port", hello["port"])
                with start_speaker(port, protocol.name, case.size) as speaker:
                    speaker.answer()
                    if not check:
                        warm = speaker.ask(f"say {min(WARM_UP_S, seconds)} 0", ANSWER_S)
                        sink.ask(f"mark {warm['messages']}", ANSWER_S)
                    cpu_s = server.cpu_s()
                    length = min(CHECK_S_MAX, seconds) if check else seconds
                    sent = speaker.ask(f"say {length} {int(check)}", length + ANSWER_S)
                    sink.ask(f"await {sent['messages']}", ANSWER_S)
                    cpu_s = server.cpu_s() - cpu_s
                server.end()
                took = sink.ask(f"finish {sent['messages']}", ANSWER_S)
        return Deliveries.of(sent, took, wire.frame_len(case.size), cpu_s)


if __name__ == "__main__":
    sys.exit(Relay().main())
