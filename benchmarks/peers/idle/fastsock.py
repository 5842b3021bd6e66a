"""fastsock with handlers in a thread of its own, as a server is mostly run."""

from threading import Event

from benchmarks.ends import idle_server
from fastsock import Connection, MultiServer

CONNECTIONS_MAX = 100_000
TIMEOUT = 30.0


class Server:
    def __init__(self) -> None:
        self.server = MultiServer(("127.0.0.1", 0), connections_max=CONNECTIONS_MAX)
        self.port = int(self.server.address[1])
        self.answered = self.wanted = 0
        self.grown = Event()
        self.server.on_message(self._answer)
        self.server.start()

    def _answer(self, conn: Connection, data: bytes) -> None:
        conn.send(data)
        self.answered += 1
        if self.answered == self.wanted:
            self.grown.set()

    def grow(self, clients: int) -> None:
        self.grown.clear()
        self.wanted = clients
        if self.answered < clients:
            self.grown.wait()

    def broadcast(self, data: bytes) -> None:
        self.server.broadcast(data)
        self.server.drain(timeout=TIMEOUT)


def serve() -> None:
    idle_server.serve(Server())
