"""Talks with any number of clients, as algorithm 11-5 of the lecture does with nine.

python many_server.py PATH PORT: what comes through the FIFO goes to all clients, `@3 text` to
client 3 alone, `end` ends it. What clients say is shown.
"""

import sys

from fastsock import Connection, MultiServer, interfaces
from fastsock.fifo import FifoReader


def say(server: MultiServer, text: bytes) -> None:
    if not text.startswith(b"@"):
        server.broadcast(text)
        return
    number, _, rest = text[1:].partition(b" ")
    conns = {str(conn.number): conn for conn in server.connections}
    if conn := conns.get(number.decode(errors="replace")):
        conn.send(rest)
    else:
        print("connected:", *conns, flush=True)


def main() -> None:
    for interface in interfaces():
        print(interface)
    path, port = sys.argv[1:]
    with FifoReader(path) as fifo, MultiServer(("127.0.0.1", int(port))) as server:

        @server.on_connect
        def joined(conn: Connection) -> None:
            print("new connection", conn.number, *conn.peer, flush=True)

        @server.on_message
        def heard(conn: Connection, text: bytes) -> None:
            print("connection", conn.number, "says:", text.decode(errors="replace"), flush=True)

        server.start()
        print("listening on port", server.address[1], flush=True)
        for text in fifo:
            say(server, text)
            if text == b"end":
                break


if __name__ == "__main__":
    main()
