"""Talks with one client, both ways at the same time, as algorithm 11-2 of the lecture does.

python single_server.py PORT: what is typed goes to the client; `end`, from either side, ends it.
"""

import sys
import threading
from contextlib import suppress

from fastsock import ConnectionClosed, Endpoint, SingleServer


def send(conn: Endpoint) -> None:
    # Unbuffered, since this thread may still wait for a line when the program ends.
    with open(0, "rb", buffering=0, closefd=False) as typed, suppress(ConnectionClosed):
        for line in typed:
            conn.send(line)
            if line == b"end\n":
                break
    conn.close()


def main() -> None:
    with SingleServer(("127.0.0.1", int(sys.argv[1]))) as server:
        print("listening on port", server.address[1], flush=True)
        conn = server.accept()
        print("connected:", *conn.peer, flush=True)
        threading.Thread(target=send, args=(conn,), daemon=True).start()
        for message in conn:
            print("client says:", message.decode(errors="replace"), flush=True)
            if message == b"end":
                break


if __name__ == "__main__":
    main()
