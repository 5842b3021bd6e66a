"""The competitors of the echo."""

from benchmarks.peers import Peer

PEERS = {
    "fastsock": Peer("make build"),
    "fastsock-handlers": Peer("make build"),
    "limit": Peer("apt install gcc", program="echo_limit"),
    "asyncio": Peer("part of Python", modes=("blocking",)),
    "uvloop": Peer("pip install uvloop", file="echo.asyncio", loop="uvloop", modes=("blocking",)),
    "socket": Peer("part of Python", modes=("blocking",)),
}
