"""fastsock, inline: one loop over what happens."""

from benchmarks.ends import echo_server
from fastsock import Disconnected, Message, MultiServer

BUSY_POLL_US = 1_000_000
"""So long that a busy run never sleeps."""


class Server:
    def __init__(self, where: str, mode: str) -> None:
        self.server = MultiServer(
            ("127.0.0.1", 0) if where == "tcp" else where,
            busy_poll_us=BUSY_POLL_US if mode == "busy" else 0,
        )
        self.address = self.server.address

    def serve(self, clients: int) -> None:
        for event in self.server:
            match event:
                case Message(conn, data):
                    conn.send(data)
                case Disconnected():
                    clients -= 1
                    if not clients:
                        return


def serve() -> None:
    echo_server.serve(Server)
