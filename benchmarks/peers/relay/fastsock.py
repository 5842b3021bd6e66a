"""fastsock, which relays in C: `relay="others"`, driven by a thread of its own."""

from benchmarks.ends import relaying
from fastsock import MultiServer

TIMEOUT = 30.0


def serve() -> None:
    server = MultiServer(("127.0.0.1", 0), relay="others").start()
    relaying.serve(
        int(server.address[1]), lambda count: server.wait_connections(count, timeout=TIMEOUT)
    )
