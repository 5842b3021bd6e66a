"""What the server of a peer of the fan-out answers (server.py says how).

    accept N                         {"clients": N}, once N clients are connected
    run MODE SIZE SECONDS DISTINCT   {"messages": ..., "started_s": ..., "cpu_s": ...}, once the
                                     kernel has all that was published

`started_s` is the monotonic clock, which all processes of a machine share; `cpu_s` is the user and
system time of this process from there to the answer. csrc/limit.c speaks the same protocol.
"""

from collections.abc import Mapping
from time import monotonic, process_time
from typing import Any, Protocol

from benchmarks.load import Load
from benchmarks.server import answer, obey


class Server(Protocol):
    """What a peer written in Python has to offer; a mode is a method of the same name."""

    port: int

    def accept(self, count: int) -> None:
        """Returns once `count` clients are connected."""

    def burst(self, load: Load) -> None:
        """Publishes the load as fast as the clients take it; returns once the kernel has it all."""

    def single(self, load: Load) -> None:
        """The same, but no message is begun before every client's kernel has the one before."""


def serve(server: Server) -> None:
    """Answers the commands on stdin until it ends."""

    def accept(count: str) -> Mapping[str, Any]:
        server.accept(int(count))
        return {"clients": int(count)}

    def run(mode: str, size: str, seconds: str, distinct: str) -> Mapping[str, Any]:
        load = Load(int(size), float(seconds), distinct=distinct == "1")
        started, cpu = monotonic(), process_time()
        getattr(server, mode)(load)
        return {
            "messages": load.messages,
            "started_s": started,
            "cpu_s": process_time() - cpu,
        }

    answer(port=server.port)
    obey({"accept": accept, "run": run})
