"""What the server of a peer of the ingest answers (server.py says how).

    receive CLIENTS SIZE CHECK   {"messages": ..., "bytes": ..., "corrupt": ..., "last_s": ...,
                                  "cpu_s": ...}

once so many clients have come, said all they had to say, and ended their streams. `last_s` is the
monotonic clock at that moment, `cpu_s` the user and system time of this process until then.
csrc/ingest_limit.c speaks the same protocol.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from time import monotonic, process_time
from typing import Any, Protocol

from benchmarks.ends.server import answer, obey
from benchmarks.harness.load import message

BACKLOG = 4096

Take = Callable[[Hashable, bytes], None]
"""What each message is handed to, with its connection and without its newline."""


class Server(Protocol):
    """What a peer written in Python has to offer."""

    port: int

    def receive(self, clients: int, take: Take) -> None:
        """Takes what clients say, until so many have come and ended their streams."""


class Tally:
    """Counts messages and their bytes. With `check` it looks whether each is the one due."""

    def __init__(self, size: int, *, check: bool) -> None:
        self.size = size
        self.messages = self.bytes = self.corrupt = 0
        self.due: Counter[Hashable] = Counter()
        self.take: Take = self._check if check else self._count

    def _count(self, conn: Hashable, data: bytes) -> None:
        self.messages += 1
        self.bytes += len(data)

    def _check(self, conn: Hashable, data: bytes) -> None:
        self._count(conn, data)
        self.corrupt += data != message(self.due[conn], self.size)
        self.due[conn] += 1


def serve(server: Server) -> None:
    """Answers the commands on stdin until it ends."""

    def receive(clients: str, size: str, check: str) -> Mapping[str, Any]:
        tally = Tally(int(size), check=check == "1")
        cpu = process_time()
        server.receive(int(clients), tally.take)
        return {
            "messages": tally.messages,
            "bytes": tally.bytes,
            "corrupt": tally.corrupt,
            "last_s": monotonic(),
            "cpu_s": process_time() - cpu,
        }

    answer(port=server.port)
    obey({"receive": receive})
