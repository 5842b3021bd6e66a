"""What the server of a peer of the fan-out answers (server.py says how).

    accept N                         {"clients": N}, once N clients are connected
    run MODE SIZE SECONDS DISTINCT   {"messages": ..., "started_s": ...}, once all is handed over:
                                     to the kernel, or to the broker or thread that sends it
    pace SIZE SECONDS RATE           the same; so many messages a second, each when it is due

`started_s` is the monotonic clock, which all processes of a machine share. csrc/limit.c speaks the
same protocol.
"""

from collections.abc import Mapping, Sequence
from time import monotonic
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


def serve(server: Server, helpers: Sequence[int] = ()) -> None:
    """Answers the commands on stdin until it ends. Helpers are processes that work for this one."""

    def accept(count: str) -> Mapping[str, Any]:
        server.accept(int(count))
        return {"clients": int(count)}

    def run(mode: str, size: str, seconds: str, distinct: str) -> Mapping[str, Any]:
        load = Load(int(size), float(seconds), distinct=distinct == "1")
        started = monotonic()
        getattr(server, mode)(load)
        return {"messages": load.messages, "started_s": started}

    answer(port=server.port, helpers=list(helpers))
    obey({"accept": accept, "run": run})
