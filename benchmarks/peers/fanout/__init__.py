"""The peers of the fan-out; a mode is a method of that name in each peer's server."""

from benchmarks.harness.wire import NATS, RESP, ZMTP
from benchmarks.peers import INSTALL_NATS, INSTALL_REDIS, Peer

BURST = ("burst",)
"""Who hands messages to a broker or a thread cannot tell when the clients' kernels have one."""

PEERS = {
    "fastsock": Peer("make build"),
    "limit": Peer("apt install gcc", program="limit"),
    "asyncio": Peer("part of Python"),
    "asyncio-joined": Peer("part of Python", modes=BURST),
    "uvloop": Peer("pip install uvloop", file="fanout.asyncio", loop="uvloop"),
    "threads": Peer("part of Python", modes=("burst", "single")),
    "zmq": Peer("pip install pyzmq", modes=BURST, protocol=ZMTP),
    "redis": Peer(INSTALL_REDIS, broker="redis", file="fanout.broker", modes=BURST, protocol=RESP),
    "nats": Peer(INSTALL_NATS, broker="nats", file="fanout.broker", modes=BURST, protocol=NATS),
}
