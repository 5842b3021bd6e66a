"""What the server of a peer of the echo answers (server.py says how).

It says {"port": 0} at first, since it listens nowhere yet.

    listen WHERE MODE   {"address": ...}: WHERE is "tcp", any port, or the path of a UNIX socket
    serve N             {"cpu_s": ...}, once N clients have come, been echoed to, and gone

MODE is "blocking" or "busy". `cpu_s` is the user and system time of this process in between.
csrc/echo_limit.c speaks the same protocol.
"""

from collections.abc import Callable, Mapping
from time import process_time
from typing import Any, Protocol

from benchmarks.ends.server import answer, obey

BACKLOG = 4096


class Server(Protocol):
    """What a peer written in Python has to offer; it listens from the beginning."""

    address: Any
    """As getsockname() has it."""

    def serve(self, clients: int) -> None:
        """Returns what each client says to it, until so many have come and gone."""


def serve(make: Callable[[str, str], Server]) -> None:
    """Answers the commands on stdin until it ends. `make(where, mode)` is the peer's server."""
    server: Server

    def listen(where: str, mode: str) -> Mapping[str, Any]:
        nonlocal server
        server = make(where, mode)
        address = server.address
        return {"address": address if isinstance(address, str) else str(address[1])}

    def serve(clients: str) -> Mapping[str, Any]:
        cpu = process_time()
        server.serve(int(clients))
        return {"cpu_s": process_time() - cpu}

    answer(port=0)
    obey({"listen": listen, "serve": serve})
