"""Panels drawn with matplotlib, as SVG that becomes a part of the page."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.dashboard.charts import Chart, Panel
from benchmarks.dashboard.colours import INK, OWN, RULE, STAND_INS, Look
from benchmarks.dashboard.ratios import History
from benchmarks.harness import table

WIDTH = 4.0  # inches; narrow, so that the text is readable where the page is a phone's
HEIGHT = 2.7
BAR = 0.24
DECADES = 2
"""A logarithmic axis over fewer has figures between the powers of ten, too."""

LOG_FROM = 20
"""Figures whose highest is so many times the lowest are drawn on a logarithmic axis."""

LABELS = 5
"""At most so many commits are named below a history."""

SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
STYLE: Mapping[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def picture(chart: Chart, panel: Panel, looks: Mapping[str, Look]) -> str:
    """The SVG of a panel: lines where there is an axis to go along, else bars."""
    draw = lines if len(panel.along) > 1 and chart.across else bars
    return svg(lambda: draw(chart, panel, looks), f"{chart.title}, {panel.heading}")


# ---- Lines ----


def lines(chart: Chart, panel: Panel, looks: Mapping[str, Look]) -> Figure:
    """A line for each peer, along places that are evenly spaced."""
    figure = Figure((WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    for peer, figures in panel.peers.items():
        places = [at for at, place in enumerate(panel.along) if place in figures]
        values = [figures[panel.along[at]] for at in places]
        line(axes, peer, looks[peer], places, values)
    axes.set_xticks(range(len(panel.along)), [named(place) for place in panel.along])
    axes.set_xlabel(chart.across or "")
    value_axis(axes, chart.unit, [v for one in panel.peers.values() for v in one.values()])
    return figure


def line(axes: Axes, name: str, look: Look, places: Sequence[int], values: Sequence[float]) -> None:
    """A line with its markers, which tells its name to who points at it."""
    style = "--" if look.marker == "_" else "-"
    axes.plot(
        places,
        values,
        style,
        color=look.colour,
        marker=look.marker,
        gid=f"series:{name}",
        # fastsock is in the fore.
        linewidth=2.4 if look in OWN else 1.6,
        zorder=3 if look in OWN else 2,
    )


def value_axis(axes: Axes, unit: str, values: Sequence[float]) -> None:
    """The vertical axis: from 0, or logarithmic where small figures would vanish."""
    lowest, highest = min(values), max(values)
    if lowest > 0 and highest / lowest > LOG_FROM:
        axes.set_yscale("log")
        between = (1.0, 2.0, 5.0) if highest / lowest < 10**DECADES else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=between))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, highest * 1.08 or 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_ylabel(unit)


def history(one: History, looks: Mapping[str, Look]) -> str:
    """The SVG of the ratios of a case over its runs, with a line for each name in `looks`."""
    return svg(lambda: _history(one, looks), f"History: {one.case.title}, {one.machine}")


def _history(one: History, looks: Mapping[str, Look]) -> Figure:
    figure = Figure((WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    every = []
    for ratio, (name, look) in zip(one.ratios, looks.items(), strict=True):
        places = [at for at, row in enumerate(one.rows) if row.get(ratio.field)]
        values = [one.rows[at][ratio.field] for at in places]
        line(axes, name, look, places, values)
        every += values
    shown = range(0, len(one.rows), -(-len(one.rows) // LABELS))
    axes.set_xticks(list(shown), [one.rows[at]["commit"] or "" for at in shown])
    axes.set_xlabel("commit")
    value_axis(axes, "ratio", every)
    return figure


# ---- Bars ----


def bars(chart: Chart, panel: Panel, looks: Mapping[str, Look]) -> Figure:
    """A group of bars for each place below its name, and in it a bar for each peer.

    The longest bar of each group is as long as the others': a p50 would vanish beside a p99.9.
    """
    count = sum(map(len, panel.peers.values()))
    figure = Figure((WIDTH, 0.5 + BAR * (count + 1.5 * len(panel.along))), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=False)
    at, ticks = 0.0, []
    for place in panel.along:
        if place:
            ticks.append((at, place))
            at += 1
        here = {peer: one[place] for peer, one in panel.peers.items() if place in one}
        for peer, value in here.items():
            bar(axes, at, peer, looks[peer], value, value / (max(here.values()) or 1))
            ticks.append((at, peer))
            at += 1
        at += 0.5
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in panel.along else "normal")
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2)
    axes.set_xticks([])
    axes.spines[["bottom"]].set_visible(False)
    axes.set_xlabel(chart.unit)
    return figure


def bar(axes: Axes, at: float, peer: str, look: Look, value: float, length: float) -> None:
    """A bar with its figure at the end, which tells its name to who points at it."""
    axes.barh(at, length, height=0.72, color=look.colour, gid=f"series:{peer}")
    axes.text(length + 0.015, at, short(value), va="center", fontsize=8)


# ---- SVG ----


def named(place: Any) -> str:
    """A place along an axis, for people."""
    return f"{place:,}" if isinstance(place, int) else str(place)


def short(value: float) -> str:
    """A number in as few characters as its three digits take."""
    digits, _, unit = table.rate(value).partition(" ")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + unit


def svg(draw: Callable[[], Figure], label: str) -> str:
    """A figure as SVG for the inside of a page; the label is for who cannot see it."""
    text = StringIO()
    # The salt makes the names of what an SVG defines its own: the page has many.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": label}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        draw().savefig(text, format="svg", transparent=True, metadata=nothing)
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(text.getvalue())
    clean(root)
    root.set("role", "img")
    root.set("aria-label", label)
    for size in "width", "height":
        del root.attrib[size]
    found = ElementTree.tostring(root, encoding="unicode")
    for stand_in, variable in STAND_INS.items():
        found = found.replace(stand_in, variable)
    return found


def clean(root: ElementTree.Element) -> None:
    """Takes out what a page does not want: metadata, and names that nothing refers to.

    The names of series become their tooltips.
    """
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        if HREF in element.attrib:
            element.set("href", element.attrib.pop(HREF))  # HTML knows no prefixes
    used = {element.get("href") for element in root.iter()}
    used |= {element.get("clip-path", "")[4:-1] for element in root.iter()}
    for element in root.iter():
        name = element.get("id")
        if name is None or f"#{name}" in used:
            continue
        del element.attrib["id"]
        if name.startswith("series:"):
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = name.removeprefix("series:")
            element.insert(0, title)
            element.set("class", "series")
