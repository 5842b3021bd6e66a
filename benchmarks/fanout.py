"""One server sends every message to many clients: `python -m benchmarks.fanout --help`.

What is measured and how each peer is used stands in benchmarks/README.md.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import options, table
from benchmarks.build import compiled
from benchmarks.errors import BenchmarkError, Unavailable
from benchmarks.peers import PEERS
from benchmarks.processes import (
    Partner,
    allow_descriptors,
    cores,
    start_server,
    start_sink,
)
from benchmarks.rounds import Rounds, interleave
from benchmarks.stats import median_ratio, spread

MODES = ("burst", "single")
WARM_UP_S = 0.2
CHECK_S_MAX = 1.0
SINK_BOUND = 0.9
ANSWER_S = 60.0
"""How long a server or the sink may take for what was published when the time was over."""


@dataclass(frozen=True)
class Setup:
    """The parameters that all peers share."""

    mode: str
    clients: int
    size: int
    seconds: float


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


def run_peer(peer: str, setup: Setup, *, check: bool) -> Run:
    """One run of a peer with a fresh server and fresh clients; BenchmarkError if it cannot be made.

    A timed run is warmed up; the check reads every byte, from the first one on.
    """
    if setup.mode not in PEERS[peer].modes:
        raise Unavailable(f"is for {' and '.join(PEERS[peer].modes)} only")
    with start_server(peer) as server:
        hello = server.answer()
        if "missing" in hello:
            raise Unavailable(f"not installed: {PEERS[peer].install}")
        server.tell(f"accept {setup.clients}")
        with start_sink(hello["port"], setup.clients, setup.size, check=check) as sink:
            sink.answer()
            server.answer()
            if not check:
                warm = publish(server, setup, min(WARM_UP_S, setup.seconds), check)
                sink.ask(f"mark {warm['messages']}", ANSWER_S)
            seconds = min(CHECK_S_MAX, setup.seconds) if check else setup.seconds
            sent = publish(server, setup, seconds, check)
            server.end()
            took = sink.ask(f"finish {sent['messages']}", ANSWER_S)
    if not took["bytes"]:
        raise BenchmarkError(f"nothing of {sent['messages']} messages arrived")
    return Run(
        messages=sent["messages"],
        deliveries=took["bytes"] / (setup.size + 1),
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


def rows(rounds: Rounds[Run], setup: Setup) -> list[dict[str, Any]]:
    """The JSON rows, one for each peer that was timed; numbers are medians of the repeats."""
    rates = {peer: [run.deliveries_per_s for run in runs] for peer, runs in rounds.timed.items()}
    return [
        {
            "scenario": "fanout",
            "mode": setup.mode,
            "peer": peer,
            "clients": setup.clients,
            "size": setup.size,
            **medians(runs),
            "lost": sum(run.lost for run in [rounds.checked[peer], *runs]),
            "corrupt": sum(run.corrupt for run in [rounds.checked[peer], *runs]),
            "verified_messages": rounds.checked[peer].messages,
            "repeats": len(runs),
            "spread": spread(rates[peer]),
            "of_limit": median_ratio(rates[peer], rates.get("limit")),
            "of_asyncio": median_ratio(rates[peer], rates.get("asyncio")),
        }
        for peer, runs in rounds.timed.items()
    ]


def medians(runs: list[Run]) -> dict[str, Any]:
    """What the repeats of one peer measured."""
    sink_cpu_share = median(run.sink_cpu_s / run.seconds for run in runs)
    return {
        "seconds": median(run.seconds for run in runs),
        "messages": int(median(run.messages for run in runs)),
        "deliveries_per_s": median(run.deliveries_per_s for run in runs),
        "server_cpu_s": median(run.server_cpu_s for run in runs),
        "us_per_delivery": median(run.server_cpu_s * 1e6 / run.deliveries for run in runs),
        "sink_cpu_share": sink_cpu_share,
        "sink_bound": sink_cpu_share > SINK_BOUND,
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; --quick is short for few seconds and one repeat."""
    parser = options.Parser(prog="fanout", description=__doc__, allow_abbrev=False)
    parser.add_argument("--clients", type=options.whole(1, 10_000), default=100, metavar="N")
    parser.add_argument("--seconds", type=options.seconds, metavar="S", help="per run (default 3)")
    parser.add_argument("--size", type=options.whole(1, 65_536), default=64, metavar="BYTES")
    parser.add_argument("--mode", choices=MODES, default="burst")
    parser.add_argument("--peers", type=options.peers, default=list(PEERS), metavar="A,B,...")
    parser.add_argument("--repeats", type=options.whole(1, 100), metavar="N", help="default 3")
    parser.add_argument("--json", type=options.json_file, metavar="FILE|-")
    parser.add_argument("--quick", action="store_true", help="--seconds 0.3 --repeats 1")
    chosen = parser.parse_args(argv)
    chosen.seconds = chosen.seconds or (0.3 if chosen.quick else 3.0)
    chosen.repeats = chosen.repeats or (1 if chosen.quick else 3)
    return chosen


def show(title: str, rows: list[dict[str, Any]], notes: dict[str, str]) -> None:
    """Prints the table; a peer without figures has a note below it."""
    headings = (
        "peer|deliveries\n/s|spread|µs per\ndelivery|x limit|x asyncio|sink\nCPU|lost +\ncorrupt"
    )
    lines = [
        [
            row["peer"],
            table.rate(row["deliveries_per_s"]),
            f"{row['spread']:.0%}",
            table.digits(row["us_per_delivery"]),
            table.digits(row["of_limit"]),
            table.digits(row["of_asyncio"]),
            f"{row['sink_cpu_share']:.0%}" + (" sink-bound" if row["sink_bound"] else ""),
            f"{row['lost']} + {row['corrupt']}",
        ]
        for row in rows
    ]
    table.show(title, headings.split("|"), lines, notes)


def title(setup: Setup, repeats: int) -> str:
    """What the table is about, in a line."""
    server, sink = cores()
    where = f"server on core {server}, clients on core {sink}"
    if server == sink:
        where = f"only core {server} to use, so server and clients share it"
    return (
        f"fanout, {setup.mode}: {setup.clients} clients, {setup.size} bytes, {setup.seconds:g} s, "
        f"median of {repeats}; {where}"
    )


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 1 if a peer lost or spoiled a message, failed, or none could be measured."""
    chosen = parse(argv)
    setup = Setup(chosen.mode, chosen.clients, chosen.size, chosen.seconds)
    try:
        allow_descriptors(setup.clients)
        compiled("sink")
        with table.progress(len(chosen.peers) * (chosen.repeats + 1)) as report:
            rounds = interleave(
                chosen.peers,
                chosen.repeats,
                lambda peer, check: run_peer(peer, setup, check=check),
                report,
            )
    except BenchmarkError as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fanout: interrupted", file=sys.stderr)
        return 130
    return conclude(chosen, setup, rounds)


def conclude(chosen: argparse.Namespace, setup: Setup, rounds: Rounds[Run]) -> int:
    """Writes the results where they are wanted, says what went wrong, and returns the status."""
    results = rows(rounds, setup)
    if chosen.json:
        text = json.dumps(results, indent=1) + "\n"
        sys.stdout.write(text) if chosen.json == "-" else Path(chosen.json).write_text(text)
    if chosen.json != "-":
        show(title(setup, chosen.repeats), results, rounds.absent | rounds.failed)
    problems = [f"{peer} failed: {reason}" for peer, reason in rounds.failed.items()]
    problems += [
        f"{row['peer']}: {row['lost']} messages lost, {row['corrupt']} corrupt"
        for row in results
        if row["lost"] or row["corrupt"]
    ]
    if not results:
        problems.append("no peer was measured")
    for problem in problems:
        print(f"fanout: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
