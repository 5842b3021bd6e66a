"""What a person sees of the demonstration: a bar while it runs, and a table at the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import ROUNDED
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from fastsock.chat.demo import SHORT_RUNS, SHORT_SECONDS, Result, Work

__all__ = ["progress", "show"]

PIPE_WIDTH = 80
"""Columns where there is no terminal that says how many it has."""


@contextmanager
def progress(work: Work) -> Iterator[Callable[[str, int], None]]:
    """A bar on stderr if that is a terminal. Yields a function of the server that runs and of how
    many deliveries it has made."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description:24}"), BarColumn(), TaskProgressColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=work.deliveries)
        yield lambda name, done: bar.update(task, description=name, completed=done)


def show(work: Work, results: Sequence[Result]) -> None:
    """Prints the table: a row for each server; the rate is compared with the row "asyncio"."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    plain = next(result for result in results if result.name == "asyncio")
    table = Table(box=ROUNDED, title=_title(work), title_justify="left", title_style="bold")
    table.add_column("server", no_wrap=True)
    for heading in ("deliveries", "seconds", "per second", "lost", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.name,
            f"{result.deliveries - result.lost:,}",
            f"{result.seconds:.3f}" if result.seconds >= 0.01 else f"{result.seconds:.6f}",
            f"{result.rate:,.0f}",
            Text(f"{result.lost:,}", "bold red" if result.lost else "green"),
            f"{result.rate / plain.rate:.1f}",
            style="bold" if result.name == "fastsock" else "",
        )
    table.caption = (
        "ratio: to what plain asyncio delivers a second. The median of"
        f" {SHORT_RUNS} runs where one takes less than {SHORT_SECONDS} s."
    )
    table.caption_justify = "left"
    console.print(table)


def _title(work: Work) -> str:
    return (
        f"{work.messages:,} lines, {len(work.text):,} bytes, to each of {work.clients:,}"
        " TCP clients"
    )
