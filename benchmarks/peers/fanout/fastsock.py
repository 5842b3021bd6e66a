"""fastsock, driven by the thread that publishes."""

from time import monotonic

from benchmarks.ends import publisher
from benchmarks.harness.load import Load, Pace
from fastsock import MultiServer

CHUNK = 64
TIMEOUT = 30.0


class Server:
    def __init__(self) -> None:
        self.server = MultiServer(("127.0.0.1", 0))
        self.port = int(self.server.address[1])

    def accept(self, count: int) -> None:
        self.server.wait_connections(count, timeout=TIMEOUT)
        self.server.poll(timeout=0)

    def burst(self, load: Load) -> None:
        broadcast = self.server.broadcast
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                broadcast(message)
        self.server.drain(timeout=TIMEOUT)

    def single(self, load: Load) -> None:
        broadcast, flush = self.server.broadcast, self.server.flush
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                broadcast(message)
                flush()
        self.server.drain(timeout=TIMEOUT)

    def pace(self, pace: Pace) -> None:
        broadcast, flush = self.server.broadcast, self.server.flush
        for due, message in pace.due():
            while monotonic() < due:
                pass
            broadcast(message)
            flush()
        self.server.drain(timeout=TIMEOUT)


def serve() -> None:
    publisher.serve(Server())
