"""What sending and receiving costs one client: fastsock's framing against a buffer in Python.

The other end is a plain socket, which has sent a round's messages before its time begins, and
takes them after it.
"""

import struct

import pytest

from benchmarks.conftest import drain
from fastsock import Client

MESSAGE = b"x" * 64
COUNT = 500
ROUNDS = 100
FRAME = {
    "line": lambda message: message + b"\n",
    "length": lambda message: struct.pack("!I", len(message)) + message,
}
FRAMINGS = pytest.mark.parametrize("framing", FRAME)


class Lines:
    """Lines of a socket, split in Python."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def recv(self):
        while (end := self.buffer.find(b"\n")) < 0:
            self.buffer += self.sock.recv(1 << 16)
        message = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return message


class Lengths:
    """Messages with their length before them, split in Python."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def _fill(self, length):
        while len(self.buffer) < length:
            self.buffer += self.sock.recv(1 << 16)

    def recv(self):
        self._fill(4)
        end = 4 + struct.unpack_from("!I", self.buffer)[0]
        self._fill(end)
        message = bytes(self.buffer[4:end])
        del self.buffer[:end]
        return message


READER = {"line": Lines, "length": Lengths}


@pytest.fixture
def client(listener, framing):
    """A client, and the plain socket at the other end."""
    with Client.connect(listener.getsockname(), framing=framing, timeout=10) as client:
        other, _ = listener.accept()
        with other:
            yield client, other


@FRAMINGS
@pytest.mark.parametrize("contender", ["Client.recv", "Client.recv_many"])
def test_receive(benchmark, client, framing, contender):
    ours, other = client

    def one_by_one():
        return [ours.recv() for _ in range(COUNT)]

    def many():
        messages = []
        while len(messages) < COUNT:
            messages += ours.recv_many(COUNT - len(messages))
        return messages

    receive(benchmark, framing, other, one_by_one if contender == "Client.recv" else many)


@FRAMINGS
@pytest.mark.parametrize("contender", ["socket and a buffer in Python"])
def test_receive_in_python(benchmark, pairs, framing, contender):
    [ours, *_], [other, *_] = pairs
    reader = READER[framing](ours)
    receive(benchmark, framing, other, lambda: [reader.recv() for _ in range(COUNT)])


def receive(benchmark, framing, other, take):
    block = FRAME[framing](MESSAGE) * COUNT
    benchmark.group = f"framing {framing}: receive {COUNT} messages of 64 bytes"
    setup = lambda: other.sendall(block)  # noqa: E731
    assert benchmark.pedantic(take, setup=setup, rounds=ROUNDS) == [MESSAGE] * COUNT


@FRAMINGS
@pytest.mark.parametrize("contender", ["Client.send", "Client.send_many"])
def test_send(benchmark, client, framing, contender):
    ours, other = client

    def one_by_one():
        for _ in range(COUNT):
            ours.send(MESSAGE)

    def many():
        ours.send_many([MESSAGE] * COUNT)

    send(benchmark, framing, other, one_by_one if contender == "Client.send" else many)


@FRAMINGS
@pytest.mark.parametrize("contender", ["socket.sendall", "socket.sendall, joined"])
def test_send_in_python(benchmark, pairs, framing, contender):
    [ours, *_], [other, *_] = pairs
    frame = FRAME[framing]

    def one_by_one():
        for _ in range(COUNT):
            ours.sendall(frame(MESSAGE))

    def joined():
        ours.sendall(b"".join([frame(MESSAGE) for _ in range(COUNT)]))

    send(benchmark, framing, other, one_by_one if contender == "socket.sendall" else joined)


def send(benchmark, framing, other, give):
    length = len(FRAME[framing](MESSAGE)) * COUNT
    benchmark.group = f"framing {framing}: send {COUNT} messages of 64 bytes"
    benchmark.pedantic(give, teardown=lambda: drain([other], length), rounds=ROUNDS)
