"""The peers of the fan-out to clients of which some do not read; a mode is a policy."""

from benchmarks.peers import INSTALL_NATS, INSTALL_REDIS, Peer
from benchmarks.wire import NATS, RESP

POLICIES = ("disconnect", "drop_oldest", "block")
DISCONNECT = ("disconnect",)

PEERS = {
    "fastsock": Peer("make build"),
    "asyncio": Peer("part of Python", modes=DISCONNECT),
    "uvloop": Peer("pip install uvloop", modes=DISCONNECT),
    "redis": Peer(INSTALL_REDIS, modes=DISCONNECT, protocol=RESP),
    "nats": Peer(INSTALL_NATS, modes=DISCONNECT, protocol=NATS),
}
