"""One connection that publishes, in blocks of many messages.

As a process it is the speaker of the relay (relay.py). It prints {"ready": true} and answers the
command on stdin:

    say SIZE SECONDS DISTINCT   {"messages": ..., "started_s": ...}, once the kernel has them all
                                and what the server answers to them has come
"""

import argparse
import socket
from collections.abc import Mapping
from time import monotonic
from typing import Any

from benchmarks.ends.server import answer, obey
from benchmarks.harness.load import Load
from benchmarks.harness.wire import PROTOCOLS, Answers, Protocol, Wire

BLOCK_BYTES = 1 << 16
"""So much is joined to one call, as the documentation of a pipelining protocol recommends."""

BLOCKS_AHEAD = 2
"""So many blocks may be unanswered where the server answers: it is neither idle nor flooded."""

SEND_BUFFER_BYTES = 1 << 16
"""So far can the speaker be ahead in its own kernel: megabytes would keep a slow relay at work long
after the time is over. The relay's receive buffer is left to its kernel."""

PATIENCE_S = 30.0


class Speaker:
    """A connection to 127.0.0.1 that publishes messages of one size."""

    def __init__(self, port: int, protocol: Protocol, size: int) -> None:
        self.protocol = protocol
        self.wire = protocol.speak(size)
        self.socket = open_connection(port, self.wire)
        self.awaited = 0
        self.block_count = max(1, BLOCK_BYTES // self.wire.frame_len(size))

    def say(self, load: Load) -> None:
        """Publishes the load; returns once all of it is answered, if there are answers."""
        between = self.wire.tail + self.wire.head
        each = {Answers.NONE: 0, Answers.MESSAGE: self.block_count, Answers.BLOCK: 1}
        answers = each[self.protocol.answers]
        for chunk in load.chunks(self.block_count):
            block = [self.wire.head, between.join(chunk), self.wire.tail, self.protocol.request]
            self.socket.sendall(b"".join(block))
            self.awaited += answers
            self.await_answers(BLOCKS_AHEAD * answers)
        self.await_answers(0)

    def await_answers(self, left: int) -> None:
        """Waits until no more than so many answers are due."""
        while self.awaited > left:
            said = self.socket.recv(1 << 16)
            if not said:
                raise SystemExit("the server closed the publisher's connection")
            self.awaited -= said.count(self.protocol.answer_mark)

    def close(self) -> None:
        self.socket.close()


def open_connection(port: int, spoken: Wire) -> socket.socket:
    """A connection to 127.0.0.1 on which the greetings of both sides are over."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    connection.sendall(spoken.hello)
    said = b""
    while spoken.ready not in said:
        said += (more := connection.recv(4096))
        if not more:
            raise SystemExit(f"the server closed the connection after saying {said!r}")
    connection.sendall(spoken.begin)
    return connection


def main() -> None:
    """The process of a relay's speaker."""
    parser = argparse.ArgumentParser(prog="speaker", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("size", type=int)
    chosen = parser.parse_args()
    speaker = Speaker(chosen.port, PROTOCOLS[chosen.protocol], chosen.size)

    def say(seconds: str, distinct: str) -> Mapping[str, Any]:
        load = Load(chosen.size, float(seconds), distinct=distinct == "1")
        started = monotonic()
        speaker.say(load)
        return {"messages": load.messages, "started_s": started}

    answer(ready=True)
    obey({"say": say})
    speaker.close()


if __name__ == "__main__":
    main()
