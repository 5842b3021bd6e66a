"""pyzmq's forwarder: zmq.proxy between an XSUB and an XPUB socket, which runs without Python.

XPUB_NODROP makes the proxy wait for the clients instead of dropping messages.
"""

import threading

import zmq

from benchmarks.ends import relaying

BACKLOG = 4096


class Server:
    """Clients and speakers come to a port each, since a socket has one pattern."""

    def __init__(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.speakers = context.socket(zmq.XSUB)
        self.clients = context.socket(zmq.XPUB)
        self.clients.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.clients.setsockopt(zmq.XPUB_NODROP, 1)
        self.clients.setsockopt(zmq.BACKLOG, BACKLOG)
        self.speaker_port = self.speakers.bind_to_random_port("tcp://127.0.0.1")
        self.port = self.clients.bind_to_random_port("tcp://127.0.0.1")

    def accept(self, count: int) -> None:
        """Subscriptions are taken here, so that all are there before the proxy runs."""
        for _ in range(count):
            self.speakers.send(self.clients.recv())
        threading.Thread(target=self.forward, daemon=True).start()

    def forward(self) -> None:
        zmq.proxy(self.speakers, self.clients)


def serve() -> None:
    server = Server()
    relaying.serve(server.port, server.accept, speaker_port=server.speaker_port)
