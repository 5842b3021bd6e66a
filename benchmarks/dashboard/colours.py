"""Which colour and marker a peer has: the same in every picture of a page.

The colours are readable on white and on black (contrast above 3 to either), so that one picture
serves a light and a dark page. Text and rules take the page's own, as CSS variables: matplotlib
knows no such thing, and draws them in a stand-in that is replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass

INK = "#010203"
RULE = "#040506"
STAND_INS = {INK: "var(--ink)", RULE: "var(--rule)"}


@dataclass(frozen=True)
class Look:
    """A colour, and a marker as matplotlib calls it and as a character."""

    colour: str
    marker: str
    glyph: str


OWN = (
    Look("#2f6fe4", "o", "●"),
    Look("#1399b8", "s", "■"),
    Look("#7a63e8", "D", "◆"),
)
"""fastsock, and the other ways to use it."""

KNOWN = {
    "asyncio": Look("#d4541f", "^", "▲"),
    "uvloop": Look("#b98500", "v", "▼"),
    "asyncio-joined": Look("#c23f7c", "X", "✖"),
    "threads": Look("#8a6d52", "<", "◀"),
    "zmq": Look("#1f8f4e", "P", "✚"),
    "redis": Look("#c8443f", "*", "★"),
    "nats": Look("#8d50c4", ">", "▶"),
    "limit": Look("#7b8290", "_", "━"),
}
"""Peers that are in most scenarios keep their look in all."""

OTHERS = (
    Look("#d4541f", "^", "▲"),
    Look("#1f8f4e", "P", "✚"),
    Look("#8d50c4", ">", "▶"),
    Look("#b98500", "v", "▼"),
    Look("#c23f7c", "X", "✖"),
    Look("#8a6d52", "<", "◀"),
    Look("#6f8015", "p", "⬟"),
    Look("#c8443f", "*", "★"),
)


def looks(peers: Iterable[str]) -> dict[str, Look]:
    """The look of each peer of a scenario."""
    names = sorted(set(peers))
    found = {name: KNOWN[name] for name in names if name in KNOWN}
    free = [look for look in OTHERS if look not in found.values()]
    for pool, own in (OWN, True), (free, False):
        rest = [name for name in names if name not in KNOWN and name.startswith("fastsock") is own]
        found |= {name: pool[at % len(pool)] for at, name in enumerate(rest)}
    return found
