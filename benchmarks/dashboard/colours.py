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
    Look("#4d86b8", "h", "⬢"),
)
"""fastsock, and the other ways to use it."""

OWN_NAMES = ("fastsock", "posix", "Socket", "Client")
"""How the names of these begin."""

LIMIT = Look("#7b8290", "_", "━")

KNOWN = {
    "asyncio": Look("#d8482f", "^", "▲"),
    "uvloop": Look("#b98500", "v", "▼"),
    "asyncio-joined": Look("#c23f7c", "X", "✖"),
    "threads": Look("#8a6d52", "<", "◀"),
    "zmq": Look("#1f8f4e", "P", "✚"),
    "redis": Look("#0e9594", "*", "★"),
    "nats": Look("#8d50c4", ">", "▶"),
    "limit": LIMIT,
    "C loop": LIMIT,
}
"""Peers that are in most scenarios keep their look in all."""

OTHERS = (
    Look("#d8482f", "^", "▲"),
    Look("#1f8f4e", "P", "✚"),
    Look("#8d50c4", ">", "▶"),
    Look("#b98500", "v", "▼"),
    Look("#c23f7c", "X", "✖"),
    Look("#8a6d52", "<", "◀"),
    Look("#6f8015", "p", "⬟"),
    Look("#0e9594", "*", "★"),
)


def looks(peers: Iterable[str]) -> dict[str, Look]:
    """The look of each peer of a scenario, or of a picture that has its own."""
    names = sorted(set(peers))
    found = {name: KNOWN[name] for name in names if name in KNOWN}
    free = [look for look in OTHERS if look not in found.values()]
    for pool, own in (OWN, True), (free, False):
        rest = [name for name in names if name not in KNOWN and name.startswith(OWN_NAMES) is own]
        found |= {name: pool[at % len(pool)] for at, name in enumerate(rest)}
    return found


def several(peers: Iterable[str]) -> list[Look]:
    """A look for each of some figures, that of its peer, or another one if that is taken."""
    found: list[Look] = []
    for peer in peers:
        wanted = [KNOWN[peer]] if peer in KNOWN else []
        every = [*wanted, *OTHERS, *OWN]
        found.append(next((look for look in every if look not in found), every[0]))
    return found
