"""fastsock, inline: one loop over what happens; `match` would take longer than making the event."""

from benchmarks.ends import ingest_server
from benchmarks.ends.ingest_server import Take
from fastsock import Disconnected, Message, MultiServer


class Server:
    def __init__(self) -> None:
        self.server = MultiServer(("127.0.0.1", 0))
        self.port = int(self.server.address[1])

    def receive(self, clients: int, take: Take) -> None:
        for event in self.server:
            if isinstance(event, Message):
                take(event.conn, event.data)
            elif isinstance(event, Disconnected):
                clients -= 1
                if not clients:
                    return


def serve() -> None:
    ingest_server.serve(Server())
