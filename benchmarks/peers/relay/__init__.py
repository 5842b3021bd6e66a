"""The peers of the relay."""

from benchmarks.harness.wire import NATS, RESP, ZMTP
from benchmarks.peers import INSTALL_NATS, INSTALL_REDIS, Peer

PEERS = {
    "fastsock": Peer("make build"),
    "limit": Peer("apt install gcc", program="limit"),
    "asyncio": Peer("part of Python"),
    "asyncio-joined": Peer("part of Python"),
    "uvloop": Peer("pip install uvloop", file="relay.asyncio", loop="uvloop"),
    "threads": Peer("part of Python"),
    "zmq": Peer("pip install pyzmq", protocol=ZMTP),
    "redis": Peer(INSTALL_REDIS, broker="redis", file="relay.broker", protocol=RESP),
    "nats": Peer(INSTALL_NATS, broker="nats", file="relay.broker", protocol=NATS),
}
