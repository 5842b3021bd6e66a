"""pyzmq PUB/SUB in the form that loses nothing: XPUB with XPUB_NODROP, whose send then waits.

XPUB_VERBOSE shows every subscription, so that nothing is published before the last one.
"""

import zmq

from benchmarks.ends import publisher
from benchmarks.harness.load import Load

CHUNK = 64


class Server:
    def __init__(self) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.XPUB)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.socket.setsockopt(zmq.BACKLOG, 4096)
        self.port: int = self.socket.bind_to_random_port("tcp://127.0.0.1")

    def accept(self, count: int) -> None:
        for _ in range(count):
            self.socket.recv()

    def burst(self, load: Load) -> None:
        send = self.socket.send
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                send(message)


def serve() -> None:
    server = Server()
    publisher.serve(server)
    server.socket.close()
