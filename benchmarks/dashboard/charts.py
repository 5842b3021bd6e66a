"""Which pictures the page has: one or more for each scenario, and what each of them shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.dashboard.results import CALLS, Row, newest
from benchmarks.floors import matches


@dataclass(frozen=True)
class Chart:
    """What is drawn of a scenario's rows: a panel for each setting, and in it a line for each peer.

    `figures` are the fields that are drawn: one of them along the field `across`, or some
    under the names that stand along the axis instead.
    """

    scenario: str
    title: str
    unit: str
    figures: Mapping[str, str]
    where: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[str, ...] = ()
    across: str | None = None
    less_is_better: bool = False


@dataclass(frozen=True)
class Panel:
    """One picture: for each peer its figures by their place along the axis."""

    heading: str
    along: Sequence[Any]
    peers: Mapping[str, Mapping[Any, float]]


@dataclass(frozen=True)
class Drawn:
    """A chart with rows to draw, one of the newest of these, and the peers of the scenario."""

    chart: Chart
    panels: Sequence[Panel]
    origin: Row
    peers: Sequence[str]


DELIVERIES = {"": "deliveries_per_s"}

CHARTS = (
    Chart(
        "fanout",
        "Fan-out, as fast as the server takes it",
        "deliveries/s",
        DELIVERIES,
        where={"mode": "burst"},
        panels=("size",),
        across="clients",
    ),
    Chart(
        "fanout",
        "Fan-out, one message at a time",
        "deliveries/s",
        DELIVERIES,
        where={"mode": "single"},
        panels=("size",),
        across="clients",
    ),
    Chart(
        "relay",
        "One client talks, the server relays to the others",
        "deliveries/s",
        DELIVERIES,
        panels=("size",),
        across="clients",
    ),
    Chart(
        "echo",
        "Request and response: requests",
        "requests/s",
        {"": "requests_per_s"},
        panels=("transport", "mode", "size"),
        across="clients",
    ),
    Chart(
        "echo",
        "Request and response: latency",
        "µs",
        {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"},
        panels=("transport", "mode", "clients", "size"),
        less_is_better=True,
    ),
    Chart(
        "ingest",
        "Many clients talk, Python listens",
        "messages/s",
        {"": "messages_per_s"},
        panels=("size", "batch"),
        across="clients",
    ),
    Chart(
        "idle",
        "Memory of an idle connection",
        "bytes",
        {"private": "private_bytes", "kernel": "kernel_bytes"},
        panels=("clients",),
        less_is_better=True,
    ),
    Chart(
        "idle",
        "Accepting connections",
        "accepts/s",
        {"": "accepts_per_s"},
        panels=("clients",),
    ),
    Chart(
        "idle",
        "Telling every idle connection",
        "ms",
        {"": "broadcast_ms"},
        panels=("clients",),
        less_is_better=True,
    ),
    Chart(
        "posix",
        "POSIX calls",
        "ns per operation",
        {"": "ns_per_operation"},
        panels=("case",),
        less_is_better=True,
    ),
    Chart(
        CALLS,
        "Hot calls and their pure-Python equivalents",
        "µs per round",
        {"": "us"},
        panels=("case",),
        less_is_better=True,
    ),
)


# ---- From rows to panels ----

NAMED = {
    "size": "{} bytes",
    "clients": "{:,} clients",
    "batch": "{} at a time",
}
"""How the value of a field stands in a heading; others stand for themselves."""


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
    here = row["scenario"] == chart.scenario and matches(row, chart.where)
    return here and any(_number(row.get(key)) for key in chart.figures.values())


def panels(chart: Chart, rows: Sequence[Row]) -> list[Panel]:
    """A panel for each setting, in the order of its values."""
    settings: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["when"]):
        settings.setdefault(tuple(row.get(key) for key in chart.panels), []).append(row)
    in_order = sorted(settings, key=lambda setting: [_order(value) for value in setting])
    return [panel(chart, _heading(chart, key), settings[key]) for key in in_order]


def panel(chart: Chart, heading: str, rows: Sequence[Row]) -> Panel:
    """The figures of one setting; of two rows of the same peer and place the later one counts."""
    peers: dict[str, dict[Any, float]] = {}
    for row in rows:
        for name, key in chart.figures.items():
            if _number(row.get(key)):
                place = row.get(chart.across) if chart.across else name
                peers.setdefault(row["peer"], {})[place] = row[key]
    places = {place for figures in peers.values() for place in figures}
    given = list(chart.figures)
    along = (
        sorted(places, key=_order) if chart.across else [name for name in given if name in places]
    )
    best = sorted(peers, key=lambda peer: peers[peer].get(along[-1], 0), reverse=True)
    if chart.less_is_better:
        best.reverse()
    return Panel(heading, along, {peer: peers[peer] for peer in best})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then what is no number by its name."""
    return (not _number(value), value if _number(value) else 0, str(value))


def _heading(chart: Chart, setting: Sequence[Any]) -> str:
    named = zip(chart.panels, setting, strict=True)
    return ", ".join(
        NAMED.get(key, "{}").format(value) for key, value in named if value is not None
    )
