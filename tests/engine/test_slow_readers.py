"""Readers that are slow, not dead: which of them are closed, and which stay."""

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from conftest import WAIT, read_to_end, wait_until

from fastsock import LogFull, MultiServer, Reason

GRACE = 0.2
BOUND = 10.0
"""Seconds: 50 graces."""
WAITS_PER_GRACE = 10
WAITS_MAX = 3 * WAITS_PER_GRACE
"""Three graces: those who look at a slow one may be late."""


@pytest.fixture
def readers():
    """Sockets that read so many bytes, so often, until they or the test end."""
    over, threads, sockets = threading.Event(), [], []

    def read(peer, size, every):
        try:
            while not over.wait(every) and peer.recv(size):
                continue
        except OSError:
            pass

    def start(server, size=1 << 20, every=0.0):
        family = socket.AF_UNIX if isinstance(server.address, str) else socket.AF_INET
        peer = socket.socket(family)
        sockets.append(peer)
        peer.connect(server.address)
        threads.append(threading.Thread(target=read, args=(peer, size, every)))
        threads[-1].start()

    yield start
    over.set()
    for peer in sockets:
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(WAIT)
    for peer in sockets:
        peer.close()


@pytest.fixture(params=["tcp", "unix"])
def start(request, tmp_path):
    """Starts a server, over TCP or a UNIX socket."""
    where = ("127.0.0.1", 0) if request.param == "tcp" else str(tmp_path / "s")
    with ExitStack() as stack:

        def make(**options):
            server = MultiServer(where, slow_grace=GRACE, linger=0, framing="length", **options)
            return stack.enter_context(server).start()

        yield make


@pytest.fixture
def server(start):
    return start()


def publish(server, seconds, enough=lambda: False):
    """Publishes as fast as there is room; False when the time is over first."""
    deadline, data = time.monotonic() + seconds, bytes(1000)
    while time.monotonic() < deadline:
        for _ in range(500):
            try:
                server.broadcast(data, timeout=0.1)
            except LogFull:
                break
        if enough():
            return True
    return False


def join_two(server, readers, size, every):
    """A healthy client and one that reads as told: their connections."""
    readers(server)
    server.wait_connections(1, timeout=WAIT)
    readers(server, size, every)
    server.wait_connections(2, timeout=WAIT)
    return server.connections


LITTLE = [
    pytest.param(1 << 16, GRACE / 2, id="in bites"),
    pytest.param(1 << 17, GRACE / 4, id="steadily"),
    pytest.param(1, GRACE / 8, id="one byte at a time"),
]
NEVER = pytest.param(1, 10 * BOUND, id="never")


@pytest.mark.parametrize(("size", "every"), [NEVER, *LITTLE])
def test_a_slow_one_costs_the_others_about_its_grace_and_then_nothing(start, readers, size, every):
    """Counted in waits, so that it holds at any speed."""
    server = start(log_bytes=1 << 20)
    healthy, slow = join_two(server, readers, size, every)
    waits, published, data = 0, 0, bytes(1000)
    while slow.reason is None and waits <= WAITS_MAX:
        try:
            server.broadcast(data, timeout=GRACE / WAITS_PER_GRACE)
            published += 1
        except LogFull:
            waits += 1
        if published % 100 == 0:
            wait_until(lambda: healthy.stats().lag_bytes == 0, "the healthy reader has all")
    assert waits <= WAITS_MAX
    assert server.stats().ended == {Reason.SLOW: 1}
    for _ in range(50):
        server.broadcast_many([data] * 100, timeout=0)
        wait_until(lambda: healthy.stats().lag_bytes == 0, "the healthy reader has all")
    assert healthy.stats().messages_sent == published + 5000
    assert healthy.stats().dropped == 0


def test_one_that_is_far_faster_makes_the_others_slow_in_a_long_burst(start, readers):
    """It is held up by those that take less than half, however many they are."""
    server = start()
    readers(server)
    for _ in range(3):
        readers(server, 1 << 16, GRACE / 8)
    server.wait_connections(4, timeout=WAIT)
    assert publish(server, BOUND, lambda: len(server.connections) == 1)
    assert server.stats().ended == {Reason.SLOW: 3}
    assert server.connections[0].number == 1


def test_bursts_that_the_log_holds_disconnect_nobody(start, readers):
    """However different the readers are: nobody waits."""
    server = start(log_bytes=1 << 20)
    readers(server)
    for _ in range(3):
        readers(server, 1 << 16, GRACE / 8)
    server.wait_connections(4, timeout=WAIT)
    for _ in range(3):
        server.broadcast_many([bytes(1000)] * 1000, timeout=0)
        server.drain(timeout=WAIT)
    assert server.stats().ended == {}


def test_a_burst_among_equals_disconnects_nobody(server, readers):
    for _ in range(4):
        readers(server)
    server.wait_connections(4, timeout=WAIT)
    publish(server, 10 * GRACE)
    assert server.stats().ended == {}


def test_a_reader_that_is_alone_is_not_slow(server, readers):
    readers(server, 1 << 17, GRACE / 4)
    server.wait_connections(1, timeout=WAIT)
    publish(server, 10 * GRACE)
    assert server.stats().ended == {}


@pytest.mark.parametrize(("size", "every"), [NEVER, *LITTLE])
def test_drop_oldest_costs_the_slow_one_messages_and_the_healthy_one_nothing(
    start, readers, size, every
):
    server = start(slow_policy="drop_oldest", log_bytes=1 << 20)
    readers(server)
    server.wait_connections(1, timeout=WAIT)
    readers(server, size, every)
    server.wait_connections(2, timeout=WAIT)
    healthy, slow = server.connections
    deadline, published = time.monotonic() + BOUND, 0
    while slow.stats().dropped == 0 and time.monotonic() < deadline:
        server.broadcast_many([bytes(1000)] * 100, timeout=WAIT)
        published += 100
        wait_until(lambda: healthy.stats().lag_bytes == 0, "the healthy reader has all")
    assert slow.stats().dropped > 0
    assert (healthy.stats().messages_sent, healthy.stats().dropped) == (published, 0)
    assert server.stats().ended == {}


@pytest.mark.parametrize(("size", "every"), [NEVER, *LITTLE])
def test_block_disconnects_nobody_and_the_publisher_gets_log_full(start, readers, size, every):
    server = start(slow_policy="block", log_bytes=1 << 20)
    readers(server)
    server.wait_connections(1, timeout=WAIT)
    readers(server, size, every)
    server.wait_connections(2, timeout=WAIT)
    with pytest.raises(LogFull, match="connection 2 ") as caught:
        server.broadcast_many([bytes(1000)] * 100_000, timeout=5 * GRACE)
    assert caught.value.number == 2
    assert server.stats().ended == {}


# ---- Messages for one client: a full outbox ----


def send_to_each(server, connections, enough, timeout=None):
    """One thread sends to each in turn until enough(); False when BOUND is over first."""
    deadline, data = time.monotonic() + BOUND, bytes(1000)
    while time.monotonic() < deadline:
        for conn in connections:
            conn.send(data, timeout=timeout)
        if enough():
            return True
    return False


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest"])
@pytest.mark.parametrize(("size", "every"), [NEVER, *LITTLE])
def test_one_that_holds_up_the_sender_of_others_is_slow(start, readers, policy, size, every):
    server = start(slow_policy=policy, outbox_bytes_max=1 << 17)
    healthy, slow = join_two(server, readers, size, every)
    waits, data = 0, bytes(1000)
    while slow.reason is None and waits <= WAITS_MAX:
        healthy.send(data, timeout=WAIT)
        try:
            slow.send(data, timeout=GRACE / WAITS_PER_GRACE)
        except LogFull:
            waits += 1
    assert waits <= WAITS_MAX
    assert server.stats().ended == {Reason.SLOW: 1}
    assert slow.send(b"late") is False
    before = healthy.stats().messages_sent
    assert send_to_each(
        server, [healthy, slow], lambda: healthy.stats().messages_sent >= before + 5000
    )


@pytest.mark.parametrize(("size", "every"), [NEVER, *LITTLE])
def test_block_closes_nobody_and_the_sender_gets_log_full(start, readers, size, every):
    server = start(slow_policy="block", outbox_bytes_max=1 << 17)
    with pytest.raises(LogFull, match="connection 2 ") as caught:
        send_to_each(
            server, join_two(server, readers, size, every), lambda: False, timeout=GRACE / 8
        )
    assert caught.value.number == 2
    assert server.stats().ended == {}


def test_readers_of_about_one_speed_are_not_slow(start, readers):
    """Neither need ever be the limit while the other one is."""
    server = start(outbox_bytes_max=1 << 17)
    readers(server, 1 << 16, GRACE / 20)
    readers(server, 1 << 16, GRACE / 25)
    server.wait_connections(2, timeout=WAIT)
    until = time.monotonic() + 10 * GRACE
    send_to_each(server, server.connections, lambda: time.monotonic() > until)
    assert server.stats().ended == {}


def test_a_thread_that_sends_to_one_client_goes_at_its_pace(start, readers):
    server = start(outbox_bytes_max=1 << 17)
    healthy, slow = join_two(server, readers, 1 << 17, GRACE / 4)
    over = threading.Event()
    other = threading.Thread(target=send_to_each, args=(server, [healthy], over.is_set))
    other.start()
    until = time.monotonic() + 10 * GRACE
    send_to_each(server, [slow], lambda: time.monotonic() > until)
    over.set()
    other.join(WAIT)
    assert server.stats().ended == {}


# ---- A notice where messages are lost ----


def frames(data, framing):
    """The whole messages of a stream."""
    found = []
    while data:
        if framing == "line":
            message, newline, data = data.partition(b"\n")
            if not newline:
                break
        else:
            size = int.from_bytes(data[:4], "big")
            message, data = data[4 : 4 + size], data[4 + size :]
        found.append(message)
    return found


@pytest.mark.parametrize("framing", ["line", "length"])
def test_a_gap_notice_stands_where_the_messages_are_gone(framing):
    told = []
    options = {"slow_policy": "drop_oldest", "log_bytes": 1 << 19, "gap_notice": b"lost %d of it"}
    with MultiServer(("127.0.0.1", 0), framing=framing, linger=WAIT, **options) as server:
        server.on_gap(lambda conn, channel, lost: told.append(lost))
        server.start()
        with socket.create_connection(server.address) as peer:
            server.wait_connections(1, timeout=WAIT)
            count = 0
            # More than once, and with the client's own messages between.
            while len(told) < 5:
                server.broadcast(b"%d " % count + bytes(1000), timeout=WAIT)
                count += 1
                if count % 1000 == 0:
                    server.connection(1).send(b"own", timeout=WAIT)
            closing = threading.Thread(target=server.close)
            closing.start()
            data = read_to_end(peer)
        closing.join(WAIT)
    expected, lost = 0, []
    for message in frames(data, framing):
        first, _, rest = message.partition(b" ")
        if first == b"lost":
            lost.append(int(rest.split()[0]))
            expected += lost[-1]
        elif message != b"own":
            assert int(first) == expected
            expected += 1
    assert expected == count
    assert sum(lost) == sum(told) > 0


@pytest.mark.parametrize("value", [b"", b"%s", b"%d %d", b"a\nb", b"a\r", bytes(2000)])
def test_a_gap_notice_that_cannot_be_sent_is_refused(value):
    with pytest.raises(ValueError, match="gap_notice"):
        MultiServer(("127.0.0.1", 0), gap_notice=value)


def test_raw_framing_has_no_gap_notice():
    """A client could not tell it from the stream."""
    with pytest.raises(ValueError, match="gap_notice is a message, which cannot be told in a"):
        MultiServer(("127.0.0.1", 0), framing="raw", gap_notice=b"lost %d")
