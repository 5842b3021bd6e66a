"""fastsock, inline: the thread that publishes also drives the server."""

from benchmarks.ends import idle_server
from benchmarks.peers.idle.fastsock import CONNECTIONS_MAX, TIMEOUT
from fastsock import Message, MultiServer


class Server:
    def __init__(self) -> None:
        self.server = MultiServer(("127.0.0.1", 0), connections_max=CONNECTIONS_MAX)
        self.port = int(self.server.address[1])
        self.answered = 0

    def grow(self, clients: int) -> None:
        while self.answered < clients:
            for event in self.server.poll():
                if isinstance(event, Message):
                    event.conn.send(event.data)
                    self.answered += 1
        self.server.flush()

    def broadcast(self, data: bytes) -> None:
        self.server.broadcast(data)
        self.server.drain(timeout=TIMEOUT)


def serve() -> None:
    idle_server.serve(Server())
