"""The peers of the fan-out; a mode is a method of that name in each peer's server."""

from benchmarks.peers import Peer

PEERS = {
    "fastsock": Peer("make build"),
    "limit": Peer("apt install gcc"),
    "asyncio": Peer("part of Python"),
    "asyncio-joined": Peer("part of Python", modes=("burst",)),
    "uvloop": Peer("pip install uvloop"),
}
