"""One file per competitor, each with a `serve()` that becomes its server process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """How to get what a peer needs, and which modes of the fan-out it knows."""

    install: str
    modes: tuple[str, ...] = ("burst", "single")


PEERS = {
    "fastsock": Peer("make build"),
    "limit": Peer("apt install gcc"),
    "asyncio": Peer("part of Python"),
    "asyncio-joined": Peer("part of Python", modes=("burst",)),
    "uvloop": Peer("pip install uvloop"),
}
