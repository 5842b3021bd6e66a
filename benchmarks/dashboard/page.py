"""The page: sections of pictures with their tables, put into the template page.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmarks import table
from benchmarks.dashboard import pictures
from benchmarks.dashboard.charts import Drawn, Panel, drawn
from benchmarks.dashboard.colours import Look, looks
from benchmarks.dashboard.ratios import Headline, History, headlines, histories
from benchmarks.dashboard.results import Row
from benchmarks.floors import Case, Ratio

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Line:
    """A line of a table: its name, the look of what it names, and its figures."""

    name: str
    look: Look | None
    cells: Sequence[str]


@dataclass(frozen=True)
class Card:
    """A picture and its figures."""

    heading: str
    svg: Markup
    headings: Sequence[str]
    lines: Sequence[Line]


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


def page(rows: Sequence[Row], cases: Sequence[Case]) -> str:
    """The whole page as HTML that refers to nothing outside of it."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        style=Markup((FOLDER / "style.css").read_text()),
        ratios=standings(headlines(cases, rows)),
        sections=[section(one) for one in drawn(rows)],
        history=[remembered(one) for one in histories(cases, rows)],
        last=source(max(rows, key=lambda row: row["when"])),
    )


# ---- Ratios ----


def standings(found: Sequence[Headline]) -> dict[str, list[Standing]]:
    """The lines of each case, by its title."""
    groups: dict[str, list[Standing]] = {}
    for headline in found:
        groups.setdefault(headline.case.title, []).append(standing(headline))
    return groups


def standing(one: Headline) -> Standing:
    aim = "" if one.ratio.aim is None else table.digits(one.ratio.aim)
    kind = "at most" if one.ratio.ceiling else "at least"
    verdict, state = {True: ("reached", "good"), False: ("missed", "bad"), None: ("", "")}[
        one.reached
    ]
    return Standing(
        name_of(one.ratio),
        table.digits(one.value),
        f"{kind} {aim}" if aim else "",
        "sink-bound" if one.sink_bound else verdict,
        state,
    )


def name_of(ratio: Ratio) -> str:
    """`p50_us_of_limit` as a person would say it."""
    figure = ratio.field.rpartition("of_")[0].strip("_").removesuffix("_us").replace("_", " ")
    return f"{figure} × {ratio.other}".strip()


def remembered(one: History) -> Card:
    """The ratios of a case as lines over the runs on one machine, and as a table of the runs."""
    known = looks(ratio.other for ratio in one.ratios)
    runs = [f"{row['when'][:16].replace('T', ' ')} {row['commit'] or ''}" for row in one.rows]
    lines = [
        Line(run, None, [number(row.get(ratio.field)) for ratio in one.ratios])
        for run, row in zip(runs, one.rows, strict=True)
    ]
    svg = pictures.history(one, {name_of(ratio): known[ratio.other] for ratio in one.ratios})
    return Card(one.case.title, Markup(svg), ["run", *map(name_of, one.ratios)], lines)


# ---- Charts ----


def section(one: Drawn) -> Section:
    known = looks(one.peers)
    better = "less is better" if one.chart.less_is_better else "more is better"
    note = f"{one.chart.unit}, {better}; {source(one.origin)}"
    return Section(one.chart.title, note, [card(one, panel, known) for panel in one.panels])


def card(one: Drawn, panel: Panel, known: Mapping[str, Look]) -> Card:
    """A panel, and what it shows as a table, whose first column is the picture's legend."""
    lines = [
        Line(peer, known[peer], [number(figures.get(place)) for place in panel.along])
        for peer, figures in panel.peers.items()
    ]
    across = one.chart.across
    headings = [f"peer / {across}" if across else "peer"]
    headings += [pictures.named(place) or one.chart.unit for place in panel.along]
    svg = pictures.picture(one.chart, panel, known)
    return Card(panel.heading, Markup(svg), headings, lines)


def number(value: float | None) -> str:
    return "–" if value is None else table.rate(value)


def source(row: Row) -> str:
    """Where a figure comes from: when, which commit, which machine."""
    when = row["when"][:16].replace("T", " ") or "unknown time"
    return f"{when}, commit {row['commit'] or 'unknown'}, {row['machine']}"
