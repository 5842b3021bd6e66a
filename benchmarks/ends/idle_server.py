"""What the server of a peer of the idle scenario answers (server.py says how).

    grow N         {"cpu_s": ...}, once N clients in all are connected and have been answered once
    broadcast N    {"started_s": ..., "cpu_s": ...}, once every client's kernel has message N

`started_s` is the monotonic clock when it began; `cpu_s` is the user and system time of this
process. csrc/idle_limit.c speaks the same protocol.
"""

from collections.abc import Mapping
from time import monotonic, process_time
from typing import Any, Protocol

from benchmarks.ends.server import answer, obey
from benchmarks.harness.load import message

BACKLOG = 4096
SIZE = 64


class Server(Protocol):
    """What a peer written in Python has to offer."""

    port: int

    def grow(self, clients: int) -> None:
        """Answers what each client says with the same; until it has done so for all of them."""

    def broadcast(self, data: bytes) -> None:
        """Sends every client a line, given without its newline; until their kernels have it."""


def serve(server: Server) -> None:
    """Answers the commands on stdin until it ends."""

    def grow(clients: str) -> Mapping[str, Any]:
        cpu = process_time()
        server.grow(int(clients))
        return {"cpu_s": process_time() - cpu}

    def broadcast(number: str) -> Mapping[str, Any]:
        data = message(int(number), SIZE)
        started, cpu = monotonic(), process_time()
        server.broadcast(data)
        return {"started_s": started, "cpu_s": process_time() - cpu}

    answer(port=server.port)
    obey({"grow": grow, "broadcast": broadcast})
