"""What a person sees of a benchmark: a progress bar while it runs, and a table at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Table
    from rich.text import Text
except ImportError:
    raise SystemExit("the benchmarks need rich: pip install 'fastsock[bench]'") from None

PIPE_WIDTH = 120
"""Columns of text where there is no terminal that says how many it has."""


@contextmanager
def progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, if that is a terminal. Yields a function that takes what comes next.

    It is drawn between the runs only, so that it takes no time from what is measured.
    """
    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}")
    shown = console.is_terminal
    with Progress(*columns, console=console, auto_refresh=False, disable=not shown) as bar:
        task = bar.add_task("", total=steps)
        begun = 0

        def report(what: str) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=what, refresh=True)
            begun += 1

        yield report
        bar.update(task, completed=steps, description="done", refresh=True)


def show(
    title: str,
    headings: Sequence[str],
    lines: Sequence[Sequence[str]],
    notes: Mapping[str, str],
) -> None:
    """Prints a table of a name and its numbers in each line, and the notes below it."""
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if at else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(Text(title, style="bold"))
    console.print(table)
    for name, note in notes.items():
        console.print(Text(f"{name}  {note}"))


@dataclass(frozen=True)
class Column:
    """A heading, and how a row of the results shows below it."""

    heading: str
    text: Callable[[Mapping[str, Any]], str]


def number(heading: str, key: str) -> Column:
    """A column with three digits that count."""
    return Column(heading, lambda row: digits(row[key]))


def per_second(heading: str, key: str) -> Column:
    """A column of numbers per second, with their units."""
    return Column(heading, lambda row: rate(row[key]))


def share(heading: str, key: str) -> Column:
    """A column of shares, in percent."""
    return Column(heading, lambda row: "" if row[key] is None else f"{row[key]:.0%}")


SINK = Column(
    "sink\nCPU",
    lambda row: f"{row['sink_cpu_share']:.0%}" + (" sink-bound" if row["sink_bound"] else ""),
)


def rate(value: float) -> str:
    """A number per second, with three digits and the unit that suits it."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{digits(value / factor)} {unit}"
    return digits(value)


def digits(value: float | None) -> str:
    """A number with three digits that count; nothing if there is no number."""
    if value is None:
        return ""
    if value < 0.1:
        return f"{value:.3g}"
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
