"""The lecture's design in plain Python: two threads and a queue for each client."""

import threading

from benchmarks.ends import relaying
from benchmarks.peers.fanout.threads import Server


def relay(server: Server) -> None:
    """Reads lines of who comes last, and puts each into the queue of every other."""
    speaker, _ = server.listener.accept()
    with speaker, speaker.makefile("rb") as lines:
        for line in lines:
            server.put(line)


def serve() -> None:
    server = Server()

    def accept(count: int) -> None:
        server.accept(count)
        threading.Thread(target=relay, args=(server,), daemon=True).start()

    relaying.serve(server.port, accept)
