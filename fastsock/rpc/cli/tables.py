"""What a person sees of servers and services. What they say of themselves is shown, not obeyed."""

import sys
from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastsock._cli import shown
from fastsock.core.address import show
from fastsock.rpc.describe.definitions import Description, TypeDescription
from fastsock.rpc.matchmaker.service import Listed

__all__ = ["show_description", "show_instances"]

HEADINGS = ("service", "version", "addresses", "host", "process", "age s", "lease s")
NUMBERS = ("process", "age s", "lease s")


def show_instances(listed: Sequence[Listed]) -> None:
    """A table, or without a terminal a line for each server with tabs between its columns."""
    rows = [_row(each) for each in listed]
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    if not rows:
        print("no servers are registered")
        return
    table = Table(box=ROUNDED)
    for heading in HEADINGS:
        table.add_column(
            heading, justify="right" if heading in NUMBERS else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _row(listed: Listed) -> list[str]:
    instance = listed.instance
    where = ", ".join(show(each.address) for each in instance.locations)
    texts = [instance.service, instance.version, where, instance.hostname]
    return [
        *(shown(each).replace("\t", " ") for each in texts),
        str(instance.pid),
        f"{listed.age:.1f}",
        f"{listed.left:.1f}",
    ]


def show_description(description: Description) -> None:
    """The service, its methods, and the types that they use."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(_line(f"{description.service} version {description.version}", "bold"))
    _show_doc(console, description.doc, 1)
    for method in description.methods:
        console.print()
        notes = [note for note in ("oneway", "idempotent") if getattr(method, note)]
        notes += [f"raises {', '.join(method.raises)}"] if method.raises else []
        tail = f"  ({'; '.join(notes)})" if notes else ""
        console.print(_line(method.signature, "bold"), _line(tail, "dim"), sep="")
        _show_doc(console, method.doc, 1)
    for each in description.types:
        console.print()
        _show_type(console, each)


def _show_type(console: Console, described: TypeDescription) -> None:
    console.print(_line(described.name, "bold"), _line(f"  ({described.kind})", "dim"), sep="")
    _show_doc(console, described.doc, 1)
    for field in described.fields:
        named = ": ".join(filter(None, (field.name, field.type)))
        default = f" = {field.default}" if field.default else ""
        console.print(_line(f"    {named}{default}"))


def _show_doc(console: Console, doc: str, depth: int) -> None:
    for line in doc.splitlines():
        console.print(_line(f"{'    ' * depth}{line}".rstrip(), "italic"))


def _line(text: str, style: str = "") -> Text:
    return Text(shown(text), style)
