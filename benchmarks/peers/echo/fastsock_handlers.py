"""fastsock with handlers, which serve_forever calls."""

from benchmarks.ends import echo_server
from benchmarks.peers.echo import fastsock
from fastsock import Connection


class Server(fastsock.Server):
    def serve(self, clients: int) -> None:
        left = clients

        @self.server.on_message
        def echo(conn: Connection, data: bytes) -> None:
            conn.send(data)

        @self.server.on_disconnect
        def count(conn: Connection, reason: str) -> None:
            nonlocal left
            left -= 1
            if not left:
                self.server.close()

        self.server.serve_forever()


def serve() -> None:
    echo_server.serve(Server)
