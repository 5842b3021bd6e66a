"""fastsock under each of its policies, driven by the thread that publishes."""

import contextlib
from typing import Any, Literal

from benchmarks.ends import publisher
from benchmarks.harness.load import Load
from benchmarks.peers.fanout import fastsock
from fastsock import LogFull, MultiServer

CHUNK = 64
BLOCK_S = 1.0
"""So long a publisher waits, as under "disconnect", until it ends who is in its way."""

DRAIN_S = 0.5
"""Who does not read never lets a drain end; the others have taken all long before."""


class Server(fastsock.Server):
    def __init__(self, policy: Literal["disconnect", "drop_oldest", "block"]) -> None:
        self.server = MultiServer(("127.0.0.1", 0), slow_policy=policy, linger=0)
        self.port = int(self.server.address[1])
        self.timeout = BLOCK_S if policy == "block" else None

    def burst(self, load: Load) -> None:
        broadcast, timeout = self.server.broadcast, self.timeout
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                try:
                    broadcast(message, timeout=timeout)
                except LogFull:
                    self.end_slowest()
                    broadcast(message)
        with contextlib.suppress(TimeoutError):
            self.server.drain(timeout=DRAIN_S)

    def told(self) -> dict[str, Any]:
        """How many messages "drop_oldest" has cost each client, by its port."""
        clients = self.server.stats().connections
        return {"dropped": {each.peer[1]: each.dropped for each in clients}}

    def end_slowest(self) -> None:
        """What "block" leaves to the program: those that lag the most are its choice."""
        lags = {each.number: each.lag_bytes for each in self.server.stats().connections}
        for connection in self.server.connections:
            if lags.get(connection.number, 0) > max(lags.values()) // 2:
                connection.close()


def serve(policy: Literal["disconnect", "drop_oldest", "block"]) -> None:
    server = Server(policy)
    publisher.serve(server, told=server.told)
