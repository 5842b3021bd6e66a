"""What the server of a peer of the fan-out answers (server.py says how).

    accept N                         {"clients": N}, once N clients are connected
    run MODE SIZE SECONDS DISTINCT   {"messages": ..., "started_s": ...}, once all is handed over:
                                     to the kernel, or to the broker or thread that sends it
    pace SIZE MESSAGES RATE          the same; so many a second, each when it is due

`started_s` is the monotonic clock, which all processes of a machine share. csrc/limit.c speaks the
same protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from benchmarks.ends.server import answer, obey
from benchmarks.harness.load import Load, Pace


class Server(Protocol):
    """What a peer written in Python has to offer, beside a method for each mode that it knows.

    burst(Load)    publishes the load as fast as the clients take it
    single(Load)   the same, but no message is begun before every client's kernel has the one before
    pace(Pace)     publishes each message when it is due, and spins until then: no timer is measured

    Each returns once all is handed over.
    """

    port: int

    def accept(self, count: int) -> None:
        """Returns once `count` clients are connected."""


def serve(
    server: Server,
    helpers: Sequence[int] = (),
    told: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Answers the commands on stdin until it ends.

    Helpers are processes that work for this one. What is `told` goes into the answer of a run.
    """

    def hand_over(mode: str, load: Load | Pace) -> None:
        getattr(server, mode)(load)

    def accept(count: str) -> Mapping[str, Any]:
        server.accept(int(count))
        return {"clients": int(count)}

    def run(mode: str, size: str, seconds: str, distinct: str) -> Mapping[str, Any]:
        load = Load(int(size), float(seconds), distinct=distinct == "1")
        started = monotonic()
        hand_over(mode, load)
        return {"messages": load.messages, "started_s": started, **told()}

    def pace(size: str, messages: str, rate: str) -> Mapping[str, Any]:
        paced = Pace(int(size), int(messages), float(rate))
        hand_over("pace", paced)
        return {"messages": paced.messages, "started_s": paced.started}

    answer(port=server.port, helpers=list(helpers))
    obey({"accept": accept, "run": run, "pace": pace})
