"""The competitors of the ingest."""

from benchmarks.peers import Peer

PEERS = {
    "fastsock": Peer("make build"),
    "fastsock-batch": Peer("make build"),
    "limit": Peer("apt install gcc", program="ingest_limit"),
    "asyncio": Peer("part of Python"),
    "asyncio-protocol": Peer("part of Python"),
    "uvloop": Peer("pip install uvloop", file="ingest.asyncio", loop="uvloop"),
}
