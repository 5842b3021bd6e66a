"""The process of a peer's server: `python -m benchmarks.server PEER`.

It prints {"port": N} and then answers each line of stdin with one line of JSON, until stdin ends;
the end of the process closes the connections.

    accept N                         {"clients": N}, once N clients are connected
    run MODE SIZE SECONDS DISTINCT   {"messages": ..., "started_s": ..., "cpu_s": ...}, once the
                                     kernel has all that was published

`started_s` is the monotonic clock, which all processes of a machine share; `cpu_s` is the user and
system time of this process from there to the answer. csrc/limit.c speaks the same protocol.
"""

import json
import sys
from importlib import import_module
from time import monotonic, process_time
from typing import Protocol

from benchmarks.load import Load


class Server(Protocol):
    """What a peer written in Python has to offer; a mode is a method of the same name."""

    port: int

    def accept(self, count: int) -> None:
        """Returns once `count` clients are connected."""

    def burst(self, load: Load) -> None:
        """Publishes the load as fast as the clients take it; returns once the kernel has it all."""

    def single(self, load: Load) -> None:
        """The same, but no message is begun before every client's kernel has the one before."""


def _answer(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _run(server: Server, mode: str, size: str, seconds: str, distinct: str) -> None:
    load = Load(int(size), float(seconds), distinct=distinct == "1")
    started, cpu = monotonic(), process_time()
    getattr(server, mode)(load)
    _answer(messages=load.messages, started_s=started, cpu_s=process_time() - cpu)


def serve(server: Server) -> None:
    """Answers the commands on stdin until it ends."""
    _answer(port=server.port)
    for line in sys.stdin:
        match line.split():
            case ["accept", count]:
                server.accept(int(count))
                _answer(clients=int(count))
            case ["run", mode, size, seconds, distinct]:
                _run(server, mode, size, seconds, distinct)
            case _:
                raise SystemExit(f"no such command: {line!r}")


def main() -> None:
    """Starts the peer that the command line names, or says which import it misses."""
    try:
        peer = import_module(f"benchmarks.peers.{sys.argv[1].replace('-', '_')}")
    except ImportError as error:
        _answer(missing=str(error))
        return
    peer.serve()


if __name__ == "__main__":
    main()
