"""Channels, and what becomes of readers that are too slow."""

import threading

import pytest
from conftest import WAIT, read_exactly, read_to_end, wait_until

from fastsock import (
    Client,
    ConnectionClosed,
    Disconnected,
    Gap,
    LogFull,
    MultiServer,
    Reason,
)

BIG = 65535


def numbered(i):
    """A message of 64 KiB with its newline, which begins with its number."""
    return b"%09d" % i + b"x" * (BIG - 9)


def connect(server, dial, count=1):
    peers = [dial(server) for _ in range(count)]
    server.wait_connections(count, timeout=WAIT)
    return peers


def gaps(events):
    return [(e.conn.number, e.channel, e.lost) for e in events if isinstance(e, Gap)]


# ---- Subscribing ----


def test_who_subscribes_gets_what_is_published_from_then_until_unsubscribed(serve, dial):
    server = serve()
    peers = connect(server, dial, 2)
    one, two = server.connections
    prices = server.channel("prices")
    prices.publish(b"before")
    prices.subscribe(one)
    prices.subscribe(one)
    prices.publish(b"1")
    prices.subscribe(two)
    prices.publish_many([b"2", b"3"])
    prices.unsubscribe(one)
    prices.unsubscribe(one)
    prices.publish(b"4")
    prices.publish(b"5", exclude=two)
    prices.subscribe(one)
    prices.publish(b"6")
    server.close()
    assert read_to_end(peers[0]) == b"1\n2\n3\n6\n"
    assert read_to_end(peers[1]) == b"2\n3\n4\n6\n"


def test_a_stream_that_ends_in_the_middle_of_a_message_ends_with_the_whole(serve, dial):
    server = serve(slow_grace=60, linger=WAIT)
    (peer,) = connect(server, dial)
    (conn,) = server.connections
    channel = server.channel("big")
    channel.subscribe(conn)
    count = 0
    while conn.stats().lag_bytes < 1 << 20:
        channel.publish(numbered(count))
        count += 1
    channel.unsubscribe(conn)
    channel.publish(b"not for you")
    channel.subscribe(conn)
    channel.publish(b"again")
    reader = ReadingThread(peer)
    server.close()
    lines = reader.lines()
    assert [line[:9] for line in lines] == [b"%09d" % i for i in range(count)] + [b"again"]
    assert all(len(line) == BIG for line in lines[:-1])


def test_messages_of_many_channels_are_never_mixed(serve, dial):
    server = serve()
    server.start()
    channels = [server.channel(f"channel {i}") for i in range(8)]
    with Client.connect(server.address) as client:
        server.wait_connections(1, timeout=WAIT)
        (conn,) = server.connections
        for channel in channels:
            channel.subscribe(conn)

        def publish(number):
            for i in range(300):
                channels[number].publish(b"%d:%d:" % (number, i) + b"%d" % number * 5000)

        threads = [threading.Thread(target=publish, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        got = []
        while len(got) < 8 * 300:
            got += client.recv_many(1000, timeout=WAIT)
        for thread in threads:
            thread.join(WAIT)
    for number in range(8):
        mine = [data for data in got if data.startswith(b"%d:" % number)]
        assert mine == [b"%d:%d:" % (number, i) + b"%d" % number * 5000 for i in range(300)]


def test_a_channel_is_made_once(serve, dial):
    server = serve()
    prices = server.channel("prices", slow_policy="block", log_bytes=1 << 20)
    assert server.channel("prices") is prices and prices.name == "prices"
    with pytest.raises(ValueError, match="channel 'prices' exists; its options cannot"):
        server.channel("prices", log_bytes=1 << 21)
    with pytest.raises(ValueError, match="slow_policy must be one of"):
        server.channel("other", slow_policy="drop")
    with pytest.raises(ValueError, match="name must be a str that is not empty"):
        server.channel("")
    for i in range(254):
        server.channel(f"channel {i}", log_bytes=1 << 19)
    with pytest.raises(ValueError, match="255 channels"):
        server.channel("one too many")


def test_a_connection_of_another_server_or_one_that_has_ended_is_refused(serve, dial):
    server, other = serve(), serve()
    connect(other, dial)
    peer = connect(server, dial)[0]
    (foreign,), (conn,) = other.connections, server.connections
    channel = server.channel("a")
    for call in (channel.subscribe, channel.unsubscribe):
        with pytest.raises(ValueError, match="a connection of another server"):
            call(foreign)
    with pytest.raises(ValueError, match="another server"):
        channel.publish(b"x", exclude=foreign)
    peer.close()
    while not any(isinstance(event, Disconnected) for event in server.poll(timeout=WAIT)):
        pass
    assert channel.subscribe(conn) is False
    assert channel.unsubscribe(conn) is False


def test_drain_waits_for_channels_too(serve, dial):
    server = serve().start()
    peers = connect(server, dial, 3)
    channel = server.channel("a")
    for conn in server.connections:
        channel.subscribe(conn)
    for _ in range(1000):
        channel.publish(b"1234")
    server.drain(timeout=WAIT)
    assert server.stats().queued_bytes == 0
    assert [read_exactly(peer, 5000) for peer in peers] == [b"1234\n" * 1000] * 3


# ---- drop_oldest ----


class ReadingThread(threading.Thread):
    """Reads a socket to its end."""

    def __init__(self, peer):
        super().__init__()
        self.peer, self.data = peer, b""
        self.start()

    def run(self):
        with self.peer:
            self.data = read_to_end(self.peer)

    def lines(self):
        self.join(WAIT)
        assert not self.is_alive()
        assert self.data.endswith(b"\n")
        return self.data[:-1].split(b"\n")


@pytest.mark.parametrize("named", [False, True])
def test_drop_oldest_counts_exactly_what_was_lost(serve, dial, named):
    server = serve(slow_policy="drop_oldest", linger=WAIT)
    (peer,) = connect(server, dial)
    (conn,) = server.connections
    publish, name = server.broadcast, ""
    if named:
        channel = server.channel("prices")
        channel.subscribe(conn)
        publish, name = channel.publish, "prices"
    server.poll(timeout=0)
    conn.send(b"direct first")
    for i in range(500):
        publish(numbered(i))
        if i == 250:
            conn.send(b"direct later")
    told = gaps(server.poll(timeout=0))
    assert told and all(gap[:2] == (1, name) for gap in told)
    lost = sum(gap[2] for gap in told)
    assert lost == conn.stats().dropped == server.stats().dropped
    reader = ReadingThread(peer)
    server.close()
    lines = reader.lines()
    assert lines.count(b"direct first") == lines.count(b"direct later") == 1
    assert lines.index(b"direct first") < lines.index(b"direct later")
    numbers = [int(line[:9]) for line in lines if not line.startswith(b"direct")]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 499
    assert len(numbers) + lost == 500
    assert all(line == numbered(int(line[:9])) for line in lines if len(line) > 20)


def test_drop_oldest_leaves_alone_who_keeps_up(serve, dial):
    server = serve(slow_policy="drop_oldest", linger=WAIT)
    slow, fast = connect(server, dial, 2)
    reader = ReadingThread(fast)
    for i in range(500):
        server.broadcast(numbered(i))
        # A publisher that outruns a reader makes it slow: give it the time to keep up.
        wait_until(
            lambda: server.flush() or server.connection(2).stats().lag_bytes < 1 << 20, "read"
        )
    assert {gap[0] for gap in gaps(server.poll(timeout=0))} == {1}
    slow.close()  # Nothing else would end its lingering.
    server.close()
    assert [int(line[:9]) for line in reader.lines()] == list(range(500))


def test_excluded_messages_are_not_lost_messages(serve, dial):
    server = serve(slow_policy="drop_oldest", linger=WAIT)
    (peer,) = connect(server, dial)
    (conn,) = server.connections
    for i in range(600):
        server.broadcast(numbered(i), exclude=conn if i % 3 == 0 else None)
    lost = sum(gap[2] for gap in gaps(server.poll(timeout=0)))
    reader = ReadingThread(peer)
    server.close()
    numbers = [int(line[:9]) for line in reader.lines()]
    assert all(number % 3 for number in numbers)
    assert len(numbers) + lost == 400


# ---- block ----


@pytest.mark.parametrize("start", [False, True])
def test_block_waits_at_most_timeout_and_then_publishes_nothing(serve, dial, start):
    server = serve(slow_policy="block")
    if start:
        server.start()
    (peer,) = connect(server, dial)
    count = 0
    with pytest.raises(LogFull, match="no room for a message of 65535 bytes within 0.05 s"):
        while True:
            server.broadcast(numbered(count), timeout=0.05)
            count += 1
    with pytest.raises(LogFull, match="; 0 of 3 messages were published"):
        server.broadcast_many([numbered(count)] * 3, timeout=0)
    assert server.stats().messages_published == count
    assert server.connections[0].reason is None
    reader = ReadingThread(peer)
    server.broadcast(numbered(count), timeout=WAIT)
    server.drain(timeout=WAIT)
    server.close()
    assert [int(line[:9]) for line in reader.lines()] == list(range(count + 1))


def test_a_blocked_channel_holds_up_no_other(serve, dial):
    server = serve()
    _slow, fast = connect(server, dial, 2)
    blocked = server.channel("blocked", slow_policy="block")
    blocked.subscribe(server.connection(1))
    with pytest.raises(LogFull):
        while True:
            blocked.publish(numbered(0), timeout=0)
    server.send(2, b"free")
    server.flush()
    assert read_exactly(fast, 5) == b"free\n"


def test_a_relay_that_blocks_stops_reading_the_speaker(serve, dial):
    server = serve(slow_policy="block", relay="others").start()
    (listener,) = connect(server, dial)
    with Client.connect(server.address) as speaker:
        server.wait_connections(2, timeout=WAIT)
        count = 0
        with pytest.raises(TimeoutError):
            while True:
                speaker.send(numbered(count), timeout=0.2)
                count += 1
        assert server.stats().ended == {}
        reader = ReadingThread(listener)
        speaker.send(b"last", timeout=WAIT)
    wait_until(lambda: server.stats().messages_received == count + 2, "all is relayed")
    server.close()
    numbers = [line[:9] for line in reader.lines()]
    assert numbers == [b"%09d" % i for i in range(count + 1)] + [b"last"]


# ---- raw framing ----


def test_raw_framing_hands_on_what_arrives(serve, dial):
    server = serve(framing="raw", relay="all", message_bytes_max=1 << 12)
    (peer,) = connect(server, dial)
    server.start()
    text = bytes(range(256)) * 1000
    writer = threading.Thread(target=peer.sendall, args=(text,))
    writer.start()
    assert read_exactly(peer, len(text)) == text
    writer.join(WAIT)
    with pytest.raises(ValueError, match="framing='raw' has no empty messages"):
        server.broadcast(b"")
    server.broadcast(b"a\nb")
    assert read_exactly(peer, 3) == b"a\nb"


# ---- Time ----


def test_who_says_nothing_for_idle_timeout_is_closed(serve):
    server = serve(idle_timeout=0.15)
    reasons = []
    server.on_disconnect(lambda conn, reason: reasons.append((conn.number, reason)))
    server.start()
    with Client.connect(server.address) as silent, Client.connect(server.address) as lively:
        server.wait_connections(2, timeout=WAIT)
        pause = threading.Event()
        while not reasons:
            lively.send(b"here")
            pause.wait(0.01)
        with pytest.raises(ConnectionClosed):
            silent.recv(timeout=WAIT)
        assert reasons == [(1, Reason.IDLE)]


@pytest.mark.parametrize("framing", ["line", "length"])
def test_a_heartbeat_is_an_empty_message(serve, framing):
    server = serve(heartbeat=0.05, framing=framing).start()
    with Client.connect(server.address, framing=framing) as client:
        assert [client.recv(timeout=WAIT) for _ in range(3)] == [b"", b"", b""]
        server.broadcast(b"news")
        while (data := client.recv(timeout=WAIT)) == b"":
            pass
        assert data == b"news"


def test_raw_framing_has_no_heartbeat():
    with pytest.raises(ValueError, match="heartbeat is an empty message"):
        MultiServer(("127.0.0.1", 0), framing="raw", heartbeat=1)


def test_busy_polling_serves_as_sleeping_does(serve):
    server = serve(busy_poll_us=200)
    server.on_message(lambda conn, data: conn.send(data))
    server.start()
    with Client.connect(server.address) as client:
        for i in range(1000):
            client.send(b"%d" % i)
            assert client.recv(timeout=WAIT) == b"%d" % i
        server.broadcast(b"from another thread")
        assert client.recv(timeout=WAIT) == b"from another thread"
