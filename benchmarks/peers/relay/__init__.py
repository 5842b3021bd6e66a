"""The peers of the relay."""

from benchmarks.peers import INSTALL_NATS, INSTALL_REDIS, Peer
from benchmarks.wire import NATS, RESP, ZMTP

PEERS = {
    "fastsock": Peer("make build"),
    "limit": Peer("apt install gcc"),
    "asyncio": Peer("part of Python"),
    "asyncio-joined": Peer("part of Python"),
    "uvloop": Peer("pip install uvloop"),
    "threads": Peer("part of Python"),
    "zmq": Peer("pip install pyzmq", protocol=ZMTP),
    "redis": Peer(INSTALL_REDIS, protocol=RESP),
    "nats": Peer(INSTALL_NATS, protocol=NATS),
}
