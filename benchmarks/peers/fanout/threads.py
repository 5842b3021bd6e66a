"""The design of many a lecture in plain Python: a socket, a queue and a thread for each client."""

import socket
import threading
from queue import Queue

from benchmarks.ends import publisher
from benchmarks.harness.load import Load

CHUNK = 1
"""With many threads a message takes long, so the clock is looked at after each."""

QUEUE_MAX = 1000
"""Messages; who is slower than that holds the publisher up."""

BACKLOG = 4096


class Server:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port = self.listener.getsockname()[1]
        self.queues: list[Queue[bytes]] = []

    def accept(self, count: int) -> None:
        for _ in range(count):
            client, _ = self.listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            queue: Queue[bytes] = Queue(QUEUE_MAX)
            self.queues.append(queue)
            threading.Thread(target=write, args=(client, queue), daemon=True).start()

    def burst(self, load: Load) -> None:
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                self.put(message + b"\n")
        self.join()

    def single(self, load: Load) -> None:
        for chunk in load.chunks(CHUNK):
            for message in chunk:
                self.put(message + b"\n")
                self.join()

    def put(self, line: bytes) -> None:
        for queue in self.queues:
            queue.put(line)

    def join(self) -> None:
        """Waits until every thread has handed the kernel all that is in its queue."""
        for queue in self.queues:
            queue.join()


def write(client: socket.socket, queue: Queue[bytes]) -> None:
    """The thread of a client."""
    while True:
        client.sendall(queue.get())
        queue.task_done()


def serve() -> None:
    publisher.serve(Server())
