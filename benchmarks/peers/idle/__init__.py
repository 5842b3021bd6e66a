"""The competitors of the idle scenario."""

from benchmarks.peers import Peer

PEERS = {
    "fastsock": Peer("make build"),
    "fastsock-inline": Peer("make build"),
    "limit": Peer("apt install gcc", program="idle_limit"),
    "asyncio": Peer("part of Python"),
    "asyncio-protocol": Peer("part of Python"),
    "uvloop": Peer("pip install uvloop", file="idle.asyncio", loop="uvloop"),
}
