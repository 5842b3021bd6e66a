"""fastsock.rpc: a client that is slow to read its answers costs only itself."""

import logging
import socket
import threading
from contextlib import suppress

import pytest
import rpc_raw as raw
from conftest import wait_until
from rpc_ends import resident_bytes
from rpc_raw import RawClient, frame

pytest_plugins = ("rpc_fixtures",)

OVERLOADED = 8
HELD_BYTES_MAX = 8 << 20
BLOB_BYTES = 1 << 19


class SlowReader(RawClient):
    """Asks for 64 answers of half a MiB, and reads them in a thread: never, a byte at a time, in
    bites of 64 KiB, or 4 KiB at a time. What it has read, it credits."""

    SIZES = {"never": 0, "bytes": 1, "bites": 1 << 16, "steadily": 1 << 12}

    def __init__(self, address, way):
        super().__init__(address)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.size = self.SIZES[way]
        self.read_bytes = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.read)

    def ask(self):
        for number in range(1, 65):
            self.call(number, "blob", BLOB_BYTES)
        self.thread.start()

    def read(self):
        with suppress(OSError):  # It has been closed.
            while self.size and not self.stop.wait(0.001):
                data = self.sock.recv(self.size)
                if not data:
                    return
                self.read_bytes += len(data)
                self.say(frame(raw.CREDIT, amount=len(data)))

    def __exit__(self, *_):
        self.stop.set()
        with suppress(OSError):  # It has been closed.
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.close()


def session_of(server, client):
    [session] = [each for each in server._sessions.all() if each.token == client.session]
    return session


@pytest.mark.parametrize("way", SlowReader.SIZES)
def test_a_slow_reader_costs_only_itself(start, way):
    """Others make as many calls as they like, and none is refused; what is held is bounded."""
    options = {"body_bytes_max": 1 << 20, "held_bytes_max": HELD_BYTES_MAX}
    server = start(**options)
    budget, before = server._skeleton.budget, resident_bytes()
    with SlowReader(server.address, way) as slow:
        slow.ask()
        wait_until(lambda: budget.held_bytes > HELD_BYTES_MAX // 4, "its answers wait")
        with RawClient(server.address) as friend, RawClient(server.address) as other:
            for number in range(1, 151):
                friend.call(number, "pooled", number)
                credit = frame(raw.CREDIT, amount=20_100)
                other.say(credit + other.call_frame(number, "echo", bytes(20_000)))
                assert friend.result(number) == number
                assert other.result(number) == bytes(20_000)
                assert budget.held_bytes <= HELD_BYTES_MAX
        assert resident_bytes() - before < 4 * HELD_BYTES_MAX


@pytest.mark.parametrize("way", ["never", "bytes"])
def test_a_client_that_reads_too_little_is_closed(start, caplog, way):
    options = {"body_bytes_max": 1 << 20, "held_bytes_max": HELD_BYTES_MAX}
    server = start(**options, reading_seconds=0.2)
    caplog.set_level(logging.WARNING, "fastsock.rpc")
    with SlowReader(server.address, way) as slow:
        slow.ask()
        wait_until(lambda: session_of(server, slow).away, "it is closed")
    assert "of its answers in 0.2 s" in caplog.text


@pytest.mark.parametrize("way", ["bites", "steadily"])
def test_a_client_that_reads_slowly_gets_its_answers(start, way):
    server = start(reading_seconds=0.2)
    with SlowReader(server.address, way) as slow:
        slow.ask()
        wait_until(lambda: slow.read_bytes > 6 * BLOB_BYTES, "it reads")
        assert not session_of(server, slow).away


def test_an_answer_for_which_there_is_no_room_is_an_error(start):
    """It says so, and that the call has run; the connection stays."""
    server = start(body_bytes_max=1 << 22, held_bytes_max=HELD_BYTES_MAX)
    with RawClient(server.address) as client:
        for number in range(1, 5):
            client.call(number, "blob", 3 << 20)
        kinds = []
        while len(kinds) < 4:
            heard = client.hear()
            client.say(frame(raw.CREDIT, amount=24 + len(heard.payload)))
            if heard.kind == raw.ERROR:
                assert heard.value[0] == OVERLOADED
                assert "though the call has run" in heard.value[2]
            if heard.kind in (raw.REPLY, raw.ERROR):
                kinds.append(heard.kind)
        assert raw.REPLY in kinds


def test_streams_that_nobody_reads_are_held_within_bounds(start):
    """Each stream may be 256 KiB ahead of its reader; all of them together count."""
    server = start(body_bytes_max=1 << 20, held_bytes_max=HELD_BYTES_MAX, threads_max=4)
    budget = server._skeleton.budget
    with RawClient(server.address) as slow:
        with suppress(ConnectionError):
            for number in range(1, 201):
                slow.call(number, "count", 1000, -1, 20_000)
        wait_until(lambda: session_of(server, slow).away, "it is closed")
        assert budget.held_bytes <= HELD_BYTES_MAX
        with RawClient(server.address) as friend:
            friend.call(1, "pooled", 5)
            assert friend.result(1) == 5
