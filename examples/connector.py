"""Joins a server, and says what comes through a FIFO, as algorithm 11-4 of the lecture does.

python connector.py PATH HOST PORT: `end`, from either side, ends it.
"""

import sys
import threading
from contextlib import suppress

from fastsock import Client, ConnectionClosed, resolve
from fastsock.fifo import FifoReader


def send(client: Client, fifo: FifoReader) -> None:
    with suppress(ConnectionClosed):
        for text in fifo:
            client.send(text)
            if text == b"end":
                break
    client.close()


def main() -> None:
    path, host, port = sys.argv[1:]
    found = resolve(host)
    print("official name:", found.name, "addresses:", *found.addresses)
    with FifoReader(path) as fifo, Client.connect((host, int(port)), timeout=10) as client:
        print("connected from", *client.address, flush=True)
        sending = threading.Thread(target=send, args=(client, fifo))
        sending.start()
        try:
            for message in client:
                print("server says:", message.decode(errors="replace"), flush=True)
                if message == b"end":
                    break
        finally:
            fifo.stop()
            sending.join()


if __name__ == "__main__":
    main()
