"""fastsock, inline: poll() and its lists of events."""

from benchmarks.ends import ingest_server
from benchmarks.ends.ingest_server import Take
from benchmarks.peers.ingest import fastsock
from fastsock import Disconnected, Message


class Server(fastsock.Server):
    def receive(self, clients: int, take: Take) -> None:
        poll = self.server.poll
        while clients:
            for event in poll():
                if isinstance(event, Message):
                    take(event.conn, event.data)
                elif isinstance(event, Disconnected):
                    clients -= 1


def serve() -> None:
    ingest_server.serve(Server())
