"""The clients of the demonstration, in one process: ``python -m fastsock.chat.demo.clients``.

Arguments: the port and how many clients. Connects them, reads each to the end of its stream, and
writes JSON lines to stdout: ``{"messages": n}`` as they come, over all clients, and at last
``{"ended": when, "clients": [[messages, digest], ...]}`` with the monotonic time of the last byte.
"""

import json
import selectors
import socket
import sys
import time
from hashlib import sha256

__all__ = ["STALL_TIMEOUT"]

BUFFER_BYTES = 1 << 18
STALL_TIMEOUT = 20.0
"""Seconds without a byte after which the rest counts as lost."""
REPORT_INTERVAL = 0.1


class Tally:
    """What one client has received."""

    def __init__(self) -> None:
        self.messages = 0
        self.digest = sha256()

    def add(self, data: memoryview, newlines: int) -> None:
        self.messages += newlines
        self.digest.update(data)


class Clients:
    """Every client, and the one buffer into which all of them read."""

    def __init__(self, port: int, count: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.tallies = [Tally() for _ in range(count)]
        self.open = count
        self.messages = 0
        self.ended = time.monotonic()
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        for tally in self.tallies:
            client = socket.create_connection(("127.0.0.1", port), timeout=STALL_TIMEOUT)
            client.setblocking(False)
            self.selector.register(client, selectors.EVENT_READ, tally)

    def read_to_end(self) -> None:
        """Reads all clients until the server has closed them or nothing comes any more."""
        report_at = time.monotonic() + REPORT_INTERVAL
        while self.open and (ready := self.selector.select(STALL_TIMEOUT)):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj, key.data)
            if time.monotonic() >= report_at:
                write_line({"messages": self.messages})
                report_at = time.monotonic() + REPORT_INTERVAL

    def _read(self, client: socket.socket, tally: Tally) -> None:
        try:
            size = client.recv_into(self._buffer)
        except ConnectionResetError:
            size = 0
        if not size:
            self.selector.unregister(client)
            client.close()
            self.open -= 1
            return
        newlines = self._buffer.count(b"\n", 0, size)
        tally.add(self._view[:size], newlines)
        self.messages += newlines
        self.ended = time.monotonic()


def write_line(value: dict[str, object]) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    clients = Clients(int(sys.argv[1]), int(sys.argv[2]))
    clients.read_to_end()
    received = [[tally.messages, tally.digest.hexdigest()] for tally in clients.tallies]
    write_line({"ended": clients.ended, "clients": received})


if __name__ == "__main__":
    main()
