"""MultiServer, driven in each of its ways, with plain sockets as clients."""

import importlib.metadata
import logging
import socket
import threading
from pathlib import Path

import pytest
from conftest import WAIT, read_exactly, read_to_end, wait_until

import fastsock
from fastsock import (
    Client,
    Connected,
    ConnectionClosed,
    Disconnected,
    LogFull,
    Message,
    MultiServer,
    Reason,
    ServerClosed,
)


def poll_for(server, kind, count=1):
    """Polls until `count` events of that kind have come; all events."""
    events = []
    while sum(isinstance(event, kind) for event in events) < count:
        new = server.poll(timeout=WAIT)
        assert new, f"only {events} after {WAIT} s"
        events += new
    return events


# ---- Inline ----


def test_iteration_tells_connect_message_disconnect(serve):
    server = serve()
    told = []
    with Client.connect(server.address) as client:
        client.send(b"hello")
        for event in server:
            match event:
                case Connected(conn):
                    told.append(("connected", conn.number, conn.peer == client.address))
                    conn.send(b"welcome")
                case Message(conn, data):
                    told.append(("message", conn.number, data))
                    server.broadcast(data)
                    server.flush()
                    assert client.recv_many(2, timeout=WAIT) == [b"welcome", b"hello"]
                    conn.close()
                case Disconnected(conn, reason):
                    told.append(("disconnected", conn.number, reason))
                    server.close()
    assert told == [
        ("connected", 1, True),
        ("message", 1, b"hello"),
        ("disconnected", 1, "closed by this program"),
    ]


def test_iteration_after_close_delivers_every_disconnect(serve, dial):
    server = serve()
    for _ in range(5):
        dial(server)
    server.wait_connections(5, timeout=WAIT)
    server.close()
    kinds = [(type(event), event.conn.number) for event in server]
    assert kinds[:5] == [(Connected, n) for n in range(1, 6)]
    assert sorted(kinds[5:]) == [(Disconnected, n) for n in range(1, 6)]
    assert list(server) == []


def test_poll_without_events_returns_an_empty_list(serve):
    assert serve().poll(timeout=0) == []
    assert serve().poll(timeout=0.01) == []


def test_poll_flushes_what_was_broadcast(serve, dial):
    server = serve()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    assert [server.broadcast(b"one"), server.broadcast(b"two\n")] == [1, 2]
    server.poll(timeout=0)
    assert read_exactly(peer, 8) == b"one\ntwo\n"


def test_broadcast_flushes_on_its_own_once_64_kib_wait(serve, dial):
    server = serve()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    for _ in range(64):
        server.broadcast(b"x" * 1023)
    assert read_exactly(peer, 1 << 16) == (b"x" * 1023 + b"\n") * 64


def test_exclude_and_send_keep_the_order_of_the_calls(serve, dial):
    server = serve()
    first, second = dial(server), dial(server)
    server.wait_connections(2, timeout=WAIT)
    one, two = server.connections
    server.broadcast(b"a")
    server.broadcast(b"b", exclude=one)
    one.send(b"c")
    server.send(2, b"d")
    server.send(two, b"e")
    server.broadcast(b"f", exclude=two)
    server.broadcast_many([b"g", bytearray(b"h"), memoryview(b"i")])
    server.close()
    assert read_to_end(first) == b"a\nc\nf\ng\nh\ni\n"
    assert read_to_end(second) == b"a\nb\nd\ne\ng\nh\ni\n"


def test_broadcast_many_of_more_than_the_log_holds(serve, dial):
    server = serve(log_bytes=1 << 19)
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    received = []
    reader = threading.Thread(target=lambda: received.append(read_to_end(peer)))
    reader.start()
    messages = [b"%06d" % i for i in range(100_000)]
    assert server.broadcast_many(messages) == 100_000
    assert server.broadcast_many([]) is None
    server.close()
    reader.join(WAIT)
    assert received[0].split() == messages


def test_connections_have_numbers_peers_and_a_context(serve, dial):
    server = serve()
    peers = [dial(server) for _ in range(3)]
    server.wait_connections(3, timeout=WAIT)
    assert [conn.number for conn in server.connections] == [1, 2, 3]
    assert [conn.peer for conn in server.connections] == [p.getsockname() for p in peers]
    conn = server.connections[1]
    conn.context = {"name": "Alice"}
    assert server.connection(2) is conn and server.connections[1].context == {"name": "Alice"}
    peers[1].close()
    poll_for(server, Disconnected)
    assert [conn.number for conn in server.connections] == [1, 3]
    dial(server)
    server.wait_connections(3, timeout=WAIT)
    assert [conn.number for conn in server.connections] == [1, 3, 4]


def test_stats_count_what_happened(serve, dial):
    server = serve()
    first, second = dial(server), dial(server)
    server.wait_connections(2, timeout=WAIT)
    first.sendall(b"hello\n")
    poll_for(server, Message)
    server.broadcast(b"12345")
    server.broadcast(b"678", exclude=server.connection(1))
    server.send(1, b"direct")
    server.drain(timeout=WAIT)
    stats = server.stats()
    assert (stats.accepted, stats.messages_published, stats.messages_received) == (2, 2, 1)
    assert (stats.deliveries, stats.bytes_published, stats.queued_bytes) == (4, 10, 0)
    assert (stats.bytes_sent, stats.bytes_received) == (6 + 6 + 4 + 7, 6)
    one, two = stats.connections
    assert (one.number, one.messages_sent, one.bytes_sent) == (1, 2, 13)
    assert (one.messages_received, one.bytes_received) == (1, 6)
    assert (two.messages_sent, two.lag_bytes, two.lag_messages) == (2, 0, 0)
    assert one.peer == first.getsockname() and one.age >= one.idle >= 0
    assert read_exactly(second, 10) == b"12345\n678\n"
    second.close()
    poll_for(server, Disconnected)
    stats = server.stats()
    assert stats.ended == {Reason.PEER: 1} and stats.deliveries == 4
    assert len(stats.connections) == 1


def test_lag_is_what_a_client_has_still_to_take(serve, dial):
    server = serve(slow_grace=60)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    stats = server.stats().connections[0]
    while stats.lag_bytes < 1 << 20:
        server.broadcast(b"x" * 65535)
        stats = server.stats().connections[0]
    # Part of a message may be with the kernel already, hence the rounding up.
    assert stats.lag_messages == -(-stats.lag_bytes // 65536)
    assert server.stats().queued_bytes == stats.lag_bytes


def test_fileno_lets_another_loop_drive_the_server(serve):
    import asyncio

    async def main():
        loop, server = asyncio.get_running_loop(), serve(linger=0.2)
        done = loop.create_future()

        def on_ready():
            for event in server.poll(timeout=0):
                match event:
                    case Message(_, data):
                        server.broadcast(data.upper())
                    case Disconnected():
                        done.set_result(None)

        loop.add_reader(server.fileno(), on_ready)
        on_ready()
        reader, writer = await asyncio.open_connection(*server.address)
        for text in (b"one\n", b"two\n"):
            writer.write(text)
            assert await asyncio.wait_for(reader.readline(), WAIT) == text.upper()
        # Nothing but the broadcast itself wakes the loop here.
        loop.call_soon(server.broadcast, b"three")
        assert await asyncio.wait_for(reader.readline(), WAIT) == b"three\n"
        # The peer does not close, so a timer has to.
        server.connections[0].close()
        await asyncio.wait_for(done, WAIT)
        writer.close()
        await writer.wait_closed()
        loop.remove_reader(server.fileno())

    asyncio.run(main())


# ---- Handlers ----


def test_serve_forever_runs_the_handlers_until_close(serve):
    server, told = serve(), []

    @server.on_connect
    def hello(conn):
        conn.send(b"hello %d" % conn.number)

    @server.on_message
    def relay(conn, data):
        told.append(data)
        if data == b"stop":
            server.close()
        else:
            server.broadcast(data, exclude=conn)

    @server.on_disconnect
    def bye(conn, reason):
        told.append(str(reason))

    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Client.connect(server.address) as one, Client.connect(server.address) as two:
        assert (one.recv(timeout=WAIT), two.recv(timeout=WAIT)) == (b"hello 1", b"hello 2")
        one.send(b"to two")
        assert two.recv(timeout=WAIT) == b"to two"
        two.send(b"stop")
        assert list(one) == [] and list(two) == []
    thread.join(WAIT)
    assert not thread.is_alive()
    assert told == [b"to two", b"stop", "server closed", "server closed"]


def test_a_handler_that_raises_is_logged_and_closes_its_connection(serve, caplog):
    server = serve()

    @server.on_message
    def fail(conn, data):
        if data == b"bad":
            raise KeyError("what the handler says")
        conn.send(data)

    server.start()
    with Client.connect(server.address) as good, Client.connect(server.address) as bad:
        with caplog.at_level(logging.ERROR, "fastsock"):
            bad.send(b"bad")
            with pytest.raises(ConnectionClosed):
                bad.recv(timeout=WAIT)
        assert "what the handler says" in caplog.text and "connection 2" in caplog.text
        good.send(b"still here")
        assert good.recv(timeout=WAIT) == b"still here"
        wait_until(lambda: server.stats().ended == {Reason.HANDLER: 1}, "the reason is counted")


def test_a_handler_may_not_wait_for_its_server(serve):
    server, errors = serve(), []

    @server.on_message
    def wait(conn, data):
        calls = (server.drain, lambda: server.wait_connections(2), server.poll)
        for call in calls:
            with pytest.raises(RuntimeError) as caught:
                call()
            errors.append(str(caught.value))
        conn.send(b"done")

    server.start()
    with Client.connect(server.address) as client:
        client.send(b"go")
        assert client.recv(timeout=WAIT) == b"done"
    assert len(errors) == 3


# ---- A thread of its own ----


def test_a_started_server_flushes_by_itself(serve):
    server = serve().start()
    with Client.connect(server.address) as client:
        server.wait_connections(1, timeout=WAIT)
        for text in (b"one", b"two", b"three"):
            server.broadcast(text)
            assert client.recv(timeout=WAIT) == text


@pytest.mark.parametrize(("relay", "echo"), [("others", False), ("all", True)])
def test_the_engine_relays_without_python(serve, relay, echo):
    server = serve(relay=relay).start()
    with Client.connect(server.address) as one, Client.connect(server.address) as two:
        server.wait_connections(2, timeout=WAIT)
        one.send(b"from one")
        assert two.recv(timeout=WAIT) == b"from one"
        two.send(b"from two")
        expected = [b"from one", b"from two"] if echo else [b"from two"]
        assert [one.recv(timeout=WAIT) for _ in expected] == expected
        if echo:
            assert two.recv(timeout=WAIT) == b"from two"
        with pytest.raises(TimeoutError):
            two.recv(timeout=0.05)


def test_a_handler_answers_what_is_not_relayed_in_its_place(serve):
    server = serve(relay="others", relay_except=b"end")
    heard = []

    @server.on_message
    def answer(conn, data):
        heard.append(data)
        if data == b"end":
            conn.close()
        elif data.startswith(b"end"):
            server.broadcast(b" " + data, exclude=conn)

    server.start()
    with Client.connect(server.address) as one, Client.connect(server.address) as two:
        server.wait_connections(2, timeout=WAIT)
        one.send_many([b"hello", b"endless", b"bye", b"end", b"not heard"])
        assert list(one) == []
        assert [two.recv(timeout=WAIT) for _ in range(3)] == [b"hello", b" endless", b"bye"]
        server.broadcast(b"last")
        assert two.recv(timeout=WAIT) == b"last"
    assert heard == [b"hello", b"endless", b"bye", b"end"]


def test_publishing_from_several_threads_loses_nothing(serve):
    server = serve(log_bytes=1 << 19).start()
    names = [b"a", b"b", b"c", b"d"]

    def publish(name):
        for i in range(5000):
            server.broadcast(b"%s%d" % (name, i))

    with Client.connect(server.address) as client:
        server.wait_connections(1, timeout=WAIT)
        threads = [threading.Thread(target=publish, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        got = []
        while len(got) < 20_000:
            got += client.recv_many(10_000, timeout=WAIT)
        for thread in threads:
            thread.join(WAIT)
    for name in names:
        mine = [text for text in got if text.startswith(name)]
        assert mine == [b"%s%d" % (name, i) for i in range(5000)]


def test_a_second_driver_is_refused(serve):
    server = serve().start()
    with pytest.raises(RuntimeError, match="another thread drives the server"):
        server.poll(timeout=0)
    with pytest.raises(RuntimeError, match="started already"):
        server.start()
    with pytest.raises(RuntimeError, match="another thread drives the server"):
        server.serve_forever()


def test_drain_returns_when_all_is_with_the_kernels(serve, dial):
    server = serve().start()
    peers = [dial(server) for _ in range(10)]
    server.wait_connections(10, timeout=WAIT)
    for i in range(1000):
        server.broadcast(b"%04d" % i)
    server.send(1, b"direct")
    server.drain(timeout=WAIT)
    assert server.stats().queued_bytes == 0
    assert read_exactly(peers[0], 5007)[-7:] == b"direct\n"


def test_drain_without_a_driver_does_not_sleep_once_all_is_sent(serve, dial):
    server = serve()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    server.poll(timeout=0)
    for _ in range(10):
        server.broadcast(b"tick")
        server.drain()  # for ever, if it slept
    assert read_exactly(peer, 50) == b"tick\n" * 10


@pytest.mark.parametrize("start", [False, True])
def test_drain_and_wait_connections_time_out(serve, dial, start):
    server = serve(slow_grace=60)
    if start:
        server.start()
    with pytest.raises(TimeoutError, match="0 of 1 clients"):
        server.wait_connections(1, timeout=0.02)
    with pytest.raises(TimeoutError, match="0 of 1 clients"):
        server.wait_connections(1, timeout=0)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    with pytest.raises(TimeoutError, match="bytes are still queued after 0.05 s"):
        while True:  # until the buffers of both kernels are full
            server.broadcast_many([b"x" * 65535] * 16)
            server.drain(timeout=0.05)


# ---- Addresses ----


def test_ipv6(serve):
    with MultiServer(("::1", 0)) as server:
        server.start()
        assert server.address[0] == "::1"
        with Client.connect(server.address) as client:
            server.wait_connections(1, timeout=WAIT)
            assert server.connections[0].peer == client.address
            server.broadcast(b"six")
            assert client.recv(timeout=WAIT) == b"six"


@pytest.mark.parametrize("as_path", [str, Path])
def test_unix_socket(tmp_path, as_path):
    path = as_path(tmp_path / "socket")
    with MultiServer(path).start() as server, Client.connect(path) as client:
        assert server.address == str(path)
        server.wait_connections(1, timeout=WAIT)
        assert server.connections[0].peer == ""
        server.broadcast(b"local")
        assert client.recv(timeout=WAIT) == b"local"
    assert not Path(path).exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with MultiServer(path):
        with pytest.raises(OSError, match="cannot listen on .*: Address already in use"):
            MultiServer(path)
        with Client.connect(path):
            pass
    path.write_text("precious")
    with pytest.raises(OSError, match="Address already in use"):
        MultiServer(path)
    assert path.read_text() == "precious"


# ---- Closing ----


def test_close_sends_what_was_published_before(serve, dial):
    server = serve()
    peers = [dial(server) for _ in range(20)]
    server.wait_connections(20, timeout=WAIT)
    for i in range(2000):
        server.broadcast(b"%04d" % i)
    server.close()
    for peer in peers:
        assert read_to_end(peer).split() == [b"%04d" % i for i in range(2000)]


def test_a_tail_is_not_lost_when_the_peer_goes_on_talking(serve, dial):
    server = serve()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    peer.sendall(b"unread\n" * 1000)
    server.broadcast(b"the last words")
    server.connections[0].close()
    server.flush()
    peer.sendall(b"more\n" * 1000)
    peer.shutdown(socket.SHUT_WR)
    poll_for(server, Disconnected)
    assert read_to_end(peer) == b"the last words\n"


def test_close_is_bounded_by_linger(serve, dial):
    server = serve(linger=0.1, slow_grace=60)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    while server.stats().queued_bytes < 1 << 20:
        server.broadcast(b"x" * 65535)
    server.close()
    assert server.stats().ended == {Reason.SERVER: 1}


@pytest.mark.parametrize("start", [False, True])
def test_close_is_idempotent_and_the_port_is_free_at_once(serve, start):
    server = serve()
    if start:
        server.start()
    with Client.connect(server.address):
        server.wait_connections(1, timeout=WAIT)
        server.close()
        server.close()
        with MultiServer(server.address):
            pass


@pytest.mark.parametrize("start", [False, True])
def test_publishing_after_close_is_an_error(serve, start):
    server = serve()
    if start:
        server.start()
    server.close()
    for call in (server.broadcast, lambda data: server.broadcast_many([data])):
        with pytest.raises(ServerClosed, match="the server is closed"):
            call(b"late")
    assert server.poll() == []


@pytest.mark.parametrize("started", [False, True])
def test_a_closed_server_does_not_start(serve, started):
    server = serve()
    if started:
        server.start()
    server.close()
    with pytest.raises(ServerClosed, match="the server is closed: make another one"):
        server.start()


def test_sending_to_a_connection_that_has_ended_returns_false(serve, dial):
    server = serve()
    dial(server).close()
    conn = poll_for(server, Disconnected)[-1].conn
    assert conn.send(b"late") is False
    assert server.send(conn, b"late") is False
    assert server.send(7, b"nobody") is False
    with pytest.raises(ConnectionClosed, match="no connection has the number 7"):
        server.connection(7)
    with pytest.raises(ConnectionClosed, match="connection 1 has ended: closed by peer") as caught:
        conn.stats()
    assert (conn.reason, caught.value.by, caught.value.number) == (Reason.PEER, "peer", 1)
    conn.close()
    server.broadcast(b"for the others", exclude=conn)


# ---- The first mistakes ----


def test_closing_without_lingering_waits_for_nobody(serve, dial):
    """A client that takes nothing would otherwise have all of the server's linger."""
    server = serve(linger=3600.0, slow_policy="block", log_bytes=1 << 20)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    with pytest.raises(LogFull):
        for _ in range(1000):
            server.broadcast(bytes(60_000).replace(b"\0", b"x"), timeout=0)
    server.close(linger=0)
    assert server.stats().connections == ()


@pytest.mark.parametrize("linger", [-1, float("nan"), float("inf")])
def test_a_linger_that_cannot_be_closes_nothing(serve, linger):
    server = serve()
    with pytest.raises(ValueError, match="linger must be from 0 to 1e9 seconds"):
        server.close(linger=linger)
    assert not server._closed


def test_log_bytes_that_would_be_right_are_named():
    with pytest.raises(ValueError, match="such as 8388608, not 5000000"):
        MultiServer(("127.0.0.1", 0), log_bytes=5_000_000)
    for given in (1000, 8192):  # What is named is large enough for a message, too.
        with pytest.raises(ValueError, match=f"such as 524288, not {given}"):
            MultiServer(("127.0.0.1", 0), log_bytes=given)
    MultiServer(("127.0.0.1", 0), log_bytes=524288).close()


def test_a_client_made_without_connect_says_how():
    with pytest.raises(TypeError, match=r"use Client.connect\(\('127.0.0.1', 9\)\)"):
        Client(("127.0.0.1", 9))


def test_the_version_is_that_of_the_package():
    assert fastsock.__version__ == importlib.metadata.version("fastsock")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastsock.nothing  # noqa: B018
