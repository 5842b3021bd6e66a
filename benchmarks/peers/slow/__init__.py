"""The peers of the fan-out to clients of which some do not read; a mode is a policy."""

from benchmarks.harness.wire import NATS, RESP
from benchmarks.peers import INSTALL_NATS, INSTALL_REDIS, Peer

POLICIES = ("disconnect", "drop_oldest", "block")
DISCONNECT = ("disconnect",)

PEERS = {
    "fastsock": Peer("make build"),
    "asyncio": Peer("part of Python", modes=DISCONNECT),
    "uvloop": Peer("pip install uvloop", file="slow.asyncio", loop="uvloop", modes=DISCONNECT),
    "redis": Peer(
        INSTALL_REDIS, modes=DISCONNECT, protocol=RESP, file="fanout.broker", broker="redis"
    ),
    "nats": Peer(
        INSTALL_NATS, modes=DISCONNECT, protocol=NATS, file="fanout.broker", broker="nats"
    ),
}
