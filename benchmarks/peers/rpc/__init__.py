"""The competitors of remote calls.

Beside `serve()` the file of a peer written in Python has `connect(port, case)`: a context manager,
synchronous or not, that gives what makes a call of that case (benchmarks/rpc_client.py).
"""

from benchmarks.peers import Peer

PIP = "pip install 'fastsock[bench]'"
FOR_ALL = ("null", "pipelined", "array")

PEERS = {
    "fastsock": Peer("make build"),
    "fastsock-sleeping": Peer("make build", modes=("null", "pooled")),
    "fastsock-aio": Peer("make build", modes=("null", "pooled", "pipelined", "array")),
    "limit": Peer("apt install gcc", program="rpc_limit"),
    "multiprocessing": Peer("part of Python", modes=FOR_ALL),
    "grpcio": Peer(PIP, modes=("null", "pooled", "pipelined", "array")),
    "grpcio-aio": Peer(PIP, modes=FOR_ALL),
    "rpyc": Peer(PIP, modes=FOR_ALL),
    "pyro5": Peer(PIP, modes=FOR_ALL),
    "xmlrpc": Peer("part of Python", modes=FOR_ALL),
}
