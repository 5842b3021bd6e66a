"""Which pictures the page has: one or more for each scenario, and what each of them shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.dashboard.results import CALLS, Row, newest


@dataclass(frozen=True)
class Chart:
    """What is drawn of a scenario's rows: a panel for each setting, and in it a line for each peer.

    `figures` are the fields that are drawn: one of them along the field `across`, or some
    under the names that stand along the axis instead. `where` has fields and the values that
    they may have.
    """

    scenario: str
    title: str
    unit: str
    figures: Mapping[str, str]
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    panels: tuple[str, ...] = ()
    across: str | None = None
    less_is_better: bool = False
    paced: bool = True
    """Whether the load generator may have set the pace of what is shown."""
    contenders: bool = False
    """Whether each panel has peers of its own."""


@dataclass(frozen=True)
class Panel:
    """One picture: for each peer its figures by their place along the axis."""

    heading: str
    along: Sequence[Any]
    peers: Mapping[str, Mapping[Any, float]]
    sink_bound: frozenset[tuple[str, Any]]
    """Peers and places whose figures the load generator may have set."""


@dataclass(frozen=True)
class Drawn:
    """A chart with rows to draw, one of the newest of these, and the peers of the scenario."""

    chart: Chart
    panels: Sequence[Panel]
    origin: Row
    peers: Sequence[str]


SECTIONS = {
    "fanout": "Fan-out: a server tells many clients",
    "relay": "Relay: a client tells all others",
    "slow": "Slow: some clients do not read",
    "echo": "Echo: request and response",
    "ingest": "Ingest: many clients talk, Python listens",
    "idle": "Idle: many silent connections",
    "rpc": "Remote calls",
    "posix": "POSIX calls",
    "posix-memory": "POSIX calls: memory",
    CALLS: "Hot calls and their pure-Python equivalents",
}
"""The scenarios in the order of the page, and how a section of it is headed."""

DELIVERIES = {"": "deliveries_per_s"}
POLICIES = {"policy": ["disconnect", "drop_oldest", "block"]}

CHARTS = (
    Chart(
        "fanout",
        "As fast as the server takes it",
        "deliveries/s",
        DELIVERIES,
        where={"mode": ["burst"]},
        panels=("size",),
        across="clients",
    ),
    Chart(
        "fanout",
        "One message at a time",
        "deliveries/s",
        DELIVERIES,
        where={"mode": ["single"]},
        panels=("size",),
        across="clients",
    ),
    Chart(
        "fanout",
        "How late a message is",
        "µs",
        {
            "first client, p50": "first_p50_us",
            "first client, p99": "first_p99_us",
            "last client, p50": "last_p50_us",
            "last client, p99": "last_p99_us",
        },
        where={"mode": ["latency"]},
        panels=("load", "clients", "size"),
        less_is_better=True,
    ),
    Chart(
        "relay",
        "As fast as the server takes it",
        "deliveries/s",
        DELIVERIES,
        panels=("size",),
        across="clients",
    ),
    Chart(
        "slow",
        "What the others keep",
        "share of their rate alone",
        {"in all": "kept", "but for the longest pause": "kept_flowing"},
        where=POLICIES,
        panels=("policy", "clients", "size"),
    ),
    Chart(
        "slow",
        "Memory that it takes",
        "bytes",
        {"": "growth_bytes"},
        where=POLICIES,
        panels=("policy", "clients", "size"),
        less_is_better=True,
        paced=False,
    ),
    Chart(
        "echo",
        "Requests",
        "requests/s",
        {"": "requests_per_s"},
        panels=("transport", "mode", "size"),
        across="clients",
    ),
    Chart(
        "echo",
        "Latency",
        "µs",
        {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"},
        panels=("transport", "mode", "clients", "size"),
        less_is_better=True,
    ),
    Chart(
        "ingest",
        "Messages",
        "messages/s",
        {"": "messages_per_s"},
        panels=("size", "batch"),
        across="clients",
    ),
    Chart(
        "idle",
        "Memory of a connection",
        "bytes",
        {"private": "private_bytes", "kernel": "kernel_bytes"},
        panels=("clients",),
        less_is_better=True,
        paced=False,
    ),
    Chart(
        "idle",
        "Accepting",
        "accepts/s",
        {"": "accepts_per_s"},
        panels=("clients",),
    ),
    Chart(
        "idle",
        "Telling all of them",
        "ms",
        {"": "broadcast_ms"},
        panels=("clients",),
        less_is_better=True,
        paced=False,
    ),
    Chart(
        "rpc",
        "Calls",
        "calls/s",
        {"": "calls_per_s"},
        where={"case": ["null", "pooled", "busy", "pipelined"]},
        panels=("case", "depth"),
    ),
    Chart(
        "rpc",
        "Latency of single calls",
        "µs",
        {"p50": "p50_us", "p99": "p99_us"},
        where={"case": ["null", "pooled", "busy"]},
        panels=("case",),
        less_is_better=True,
    ),
    Chart(
        "rpc",
        "8 MB of float64 there and back",
        "MB/s",
        {"": "mb_per_s"},
        where={"case": ["array"]},
    ),
    Chart(
        "posix",
        "A call",
        "ns per operation",
        {"": "ns_per_operation"},
        panels=("case",),
        less_is_better=True,
        contenders=True,
    ),
    Chart(
        "posix-memory",
        "To send 8 MB of numpy",
        "bytes",
        {"": "grown"},
        less_is_better=True,
    ),
    Chart(
        CALLS,
        "Rounds",
        "µs per round",
        {"": "us"},
        panels=("case",),
        less_is_better=True,
        contenders=True,
    ),
)


# ---- From rows to panels ----

NAMED = {
    "size": "{:,} bytes",
    "clients": "{:,} clients",
    "batch": "{} at a time",
    "load": "{:.0%} of what C can do",
    "depth": "{} under way",
}
"""How the value of a field stands in a heading; others stand for themselves."""

SINGULAR = {"1 clients": "1 client", "1 under way": "one at a time"}


def drawn(rows: Sequence[Row]) -> list[Drawn]:
    """The charts that there are rows for, each with the newest ones."""
    found = []
    for chart in CHARTS:
        meant = newest([row for row in rows if _meant(chart, row)])
        if meant:
            origin = max(meant, key=lambda row: row["when"])
            peers = [row["peer"] for row in rows if row["scenario"] == chart.scenario]
            found.append(Drawn(chart, panels(chart, meant), origin, peers))
    return found


def _meant(chart: Chart, row: Row) -> bool:
    here = row["scenario"] == chart.scenario
    here = here and all(row.get(key) in values for key, values in chart.where.items())
    return here and any(_number(row.get(key)) for key in chart.figures.values())


def panels(chart: Chart, rows: Sequence[Row]) -> list[Panel]:
    """A panel for each setting, in the order of its values, or of `where` if that names them."""
    settings: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["when"]):
        settings.setdefault(tuple(row.get(key) for key in chart.panels), []).append(row)

    def place(setting: Sequence[Any]) -> list[tuple[bool, float, str]]:
        return [
            _order(list(chart.where[key]).index(value) if key in chart.where else value)
            for key, value in zip(chart.panels, setting, strict=True)
        ]

    in_order = sorted(settings, key=place)
    return [panel(chart, _heading(chart, key), settings[key]) for key in in_order]


def panel(chart: Chart, heading: str, rows: Sequence[Row]) -> Panel:
    """The figures of one setting; of two rows of the same peer and place the later one counts."""
    peers: dict[str, dict[Any, float]] = {}
    bound = {}
    for row in rows:
        for name, key in chart.figures.items():
            if _number(row.get(key)):
                place = row.get(chart.across) if chart.across else name
                peers.setdefault(row["peer"], {})[place] = row[key]
                bound[row["peer"], place] = chart.paced and row.get("sink_bound")
    places = {place for figures in peers.values() for place in figures}
    given = list(chart.figures)
    along = (
        sorted(places, key=_order) if chart.across else [name for name in given if name in places]
    )
    best = sorted(peers, key=lambda peer: peers[peer].get(along[-1], 0), reverse=True)
    if chart.less_is_better:
        best.reverse()
    marked = frozenset(where for where, is_bound in bound.items() if is_bound)
    return Panel(heading, along, {peer: peers[peer] for peer in best}, marked)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then what is no number by its name."""
    return (not _number(value), value if _number(value) else 0, str(value))


def _heading(chart: Chart, setting: Sequence[Any]) -> str:
    named = zip(chart.panels, setting, strict=True)
    words = [NAMED.get(key, "{}").format(value) for key, value in named if value is not None]
    return ", ".join(SINGULAR.get(word, word) for word in words)
