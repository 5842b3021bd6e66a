"""The socket module, blocking: a thread for each client, as the lecture has a process for each."""

import socket
from threading import Thread

from benchmarks.ends import echo_server

TAKE_BYTES = 1 << 16


def echo(client: socket.socket) -> None:
    with client:
        while data := client.recv(TAKE_BYTES):
            client.sendall(data)


class Server:
    def __init__(self, where: str, mode: str) -> None:
        self.tcp = where == "tcp"
        self.listener = socket.socket(socket.AF_INET if self.tcp else socket.AF_UNIX)
        self.listener.bind(("127.0.0.1", 0) if self.tcp else where)
        self.listener.listen(echo_server.BACKLOG)
        self.address = self.listener.getsockname()

    def serve(self, clients: int) -> None:
        threads = [Thread(target=echo, args=[self._accept()]) for _ in range(clients - 1)]
        for thread in threads:
            thread.start()
        echo(self._accept())
        for thread in threads:
            thread.join()

    def _accept(self) -> socket.socket:
        client, _ = self.listener.accept()
        if self.tcp:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client


def serve() -> None:
    echo_server.serve(Server)
