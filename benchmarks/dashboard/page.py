"""The page: sections of pictures with their tables, put into the template page.html."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.dashboard import pictures
from benchmarks.dashboard.charts import SECTIONS, Drawn, Panel, drawn
from benchmarks.dashboard.colours import Look, looks, several
from benchmarks.dashboard.ratios import Headline, History, headlines, histories
from benchmarks.dashboard.results import Row, faults, sound
from benchmarks.floors import Case, Ratio
from benchmarks.harness import table

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Name:
    """What a line or a column of a table is called, and its look in the picture if it is there."""

    text: str
    look: Look | None = None


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    name: Name
    cells: Sequence[str]


@dataclass(frozen=True)
class Card:
    """A picture and its figures. The kicker stands above the heading, the note at the bottom."""

    kicker: str
    heading: str
    svg: Markup
    headings: Sequence[Name]
    lines: Sequence[Line]
    note: str = ""


@dataclass(frozen=True)
class Standing:
    """A line of the table of ratios; the state is a class of the style sheet."""

    name: str
    value: str
    aim: str
    verdict: str
    state: str


@dataclass(frozen=True)
class Section:
    """Cards below one title."""

    title: str
    note: str
    cards: Sequence[Card]


NAMES = {"kept": "kept", "kept_flowing": "kept, but for the longest pause", "of_c": "× C loop"}
"""Ratios that have names of their own."""

BOUND = "†"
"""Marks a figure that the load generator may have set."""


def page(rows: Sequence[Row], cases: Sequence[Case]) -> str:
    """The whole page as HTML that refers to nothing outside of it."""
    fit = sound(rows)
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        style=Markup((FOLDER / "style.css").read_text()),
        ratios=standings(headlines(cases, fit)),
        sections=sections(drawn(fit)),
        history=[remembered(one) for one in histories(cases, fit)],
        last=source(max(rows, key=lambda row: row["when"])),
        left_out=[
            f"{row['scenario']}, {row['peer']}: {faults(row)} ({source(row)})"
            for row in rows
            if faults(row)
        ],
    )


# ---- Ratios ----


def standings(found: Sequence[Headline]) -> dict[str, dict[str, list[Standing]]]:
    """For each scenario, by its title, the lines of each case, by its own."""
    groups: dict[str, dict[str, list[Standing]]] = {}
    for headline in found:
        scenario = SECTIONS[headline.case.row["scenario"]]
        cases = groups.setdefault(scenario, {})
        cases.setdefault(headline.case.title, []).append(standing(headline))
    return groups


def standing(one: Headline) -> Standing:
    aim = "" if one.ratio.aim is None else table.digits(one.ratio.aim)
    kind = "≤" if one.ratio.ceiling else "≥"
    verdict, state = {True: ("reached", "good"), False: ("missed", "bad"), None: ("", "")}[
        one.reached
    ]
    value = table.digits(one.value)
    return Standing(
        name_of(one.ratio),
        f"{one.value:.3f}" if value == aim else value,
        f"{kind} {aim}" if aim else "",
        "sink-bound" if one.sink_bound else verdict,
        state,
    )


def name_of(ratio: Ratio) -> str:
    """`p50_us_of_limit` as a person would say it."""
    if ratio.field in NAMES:
        return NAMES[ratio.field]
    figure = ratio.figure.removesuffix("_us").replace("us_per", "CPU_per").replace("_", " ")
    return f"{figure} × {ratio.other}".strip()


def remembered(one: History) -> Card:
    """The ratios of a case as lines over the runs on one machine, and as a table, newest first."""
    known = dict(zip(map(name_of, one.ratios), several(r.other for r in one.ratios), strict=True))
    runs = list(reversed(one.rows))
    headings = ["run", *(f"{moment(row)} {row['commit'] or ''}" for row in runs)]
    lines = [
        Line(Name(name, look), [number(row.get(ratio.field)) for row in runs])
        for ratio, (name, look) in zip(one.ratios, known.items(), strict=True)
    ]
    svg = pictures.history(one, known)
    title = one.case.title
    return Card("", title, Markup(svg), [Name(text) for text in headings], lines, one.machine)


# ---- Charts ----


def sections(found: Sequence[Drawn]) -> list[Section]:
    """A section for each scenario, with the cards of all its charts."""
    made = []
    for scenario, title in SECTIONS.items():
        here = [one for one in found if one.chart.scenario == scenario]
        if here:
            sources = dict.fromkeys(source(one.origin) for one in here)
            cards = [card(one, panel) for one in here for panel in one.panels]
            made.append(Section(title, "; ".join(sources), cards))
    return made


def card(one: Drawn, panel: Panel) -> Card:
    """A panel, and what it shows as a table, whose first column is the picture's legend."""
    known = looks(panel.peers if one.chart.contenders else one.peers)
    lines = [
        Line(Name(peer, known[peer]), [figure(panel, peer, place) for place in panel.along])
        for peer in panel.peers
    ]
    across = one.chart.across
    headings = [f"peer / {across}" if across else "peer"]
    headings += [pictures.named(place) or one.chart.unit for place in panel.along]
    better = "less is better" if one.chart.less_is_better else "more is better"
    return Card(
        f"{one.chart.title}: {one.chart.unit}, {better}",
        panel.heading,
        Markup(pictures.picture(one.chart, panel, known)),
        list(map(Name, headings)),
        lines,
        f"{BOUND} the load generator may have set the pace" if panel.sink_bound else "",
    )


def figure(panel: Panel, peer: str, place: Any) -> str:
    mark = BOUND if (peer, place) in panel.sink_bound else ""
    return number(panel.peers[peer].get(place)) + mark


def number(value: float | None) -> str:
    return "–" if value is None else table.rate(value)


def moment(row: Row) -> str:
    """When a row was measured, with hyphens at which no line is broken."""
    return row["when"][:16].replace("T", " ").replace("-", "\u2011") or "unknown time"


def source(row: Row) -> str:
    """Where a figure comes from: when, which commit, which machine."""
    return f"{moment(row)}, commit {row['commit'] or 'unknown'}, {row['machine']}"
