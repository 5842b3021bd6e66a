"""Handlers that fail, close, wait or cannot run: what happens to them, and to everybody else."""

import functools
import threading
import time
from contextlib import suppress

import pytest
from conftest import WAIT, read_to_end, wait_until

from fastsock import Client, ConnectionClosed, Disconnected, Message, Reason

# ---- What ends a program ends no thread in silence ----


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_is_no_exception_closes_its_connection_and_the_thread_goes_on(serve, caplog, error):
    server = serve()

    @server.on_message
    def answer(conn, data):
        if data == b"die":
            raise error
        conn.send(data)

    server.start()
    with Client.connect(server.address) as good, Client.connect(server.address) as bad:
        bad.send(b"die")
        with pytest.raises(ConnectionClosed):
            bad.recv(timeout=WAIT)
        good.send(b"still here")
        assert good.recv(timeout=WAIT) == b"still here"
    assert "handler failed; closing connection 2" in caplog.text


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_serve_forever_closes_the_server_and_keeps_what_no_handler_has_seen(serve, error):
    server, seen = serve(), []

    @server.on_message
    def note(conn, data):
        seen.append(data)
        if data == b"1":
            raise error

    with Client.connect(server.address) as client:
        client.send_many([b"1", b"2", b"3"])
        with pytest.raises(error):
            server.serve_forever()
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)
    assert seen == [b"1"]
    server.serve_forever()
    assert seen == [b"1", b"2", b"3"]


def test_a_thread_that_cannot_go_on_closes_the_server_and_says_so(serve, caplog, monkeypatch):
    server = serve()

    def fail(event, error):
        raise MemoryError("no room for a log line")

    monkeypatch.setattr(server, "_handler_failed", fail)
    server.on_message(lambda conn, data: 1 / 0)
    server.start()
    with Client.connect(server.address) as client:
        client.send(b"x")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)
    assert "it closes the server" in caplog.text


# ---- After the end of a connection ----


@pytest.mark.parametrize("way", ["close", "fail"])
def test_no_message_comes_after_a_close_or_a_failure(serve, caplog, way):
    server, seen, ended = serve(), [], []

    @server.on_message
    def end(conn, data):
        seen.append(data)
        if way == "fail":
            raise ValueError(data)
        conn.send(b"answer")
        conn.close()

    server.on_disconnect(lambda conn, reason: ended.append(reason))
    with Client.connect(server.address) as client:
        client.send_many([b"%d" % number for number in range(3000)])
        server.start()
        assert list(client) == ([b"answer"] if way == "close" else [])
    wait_until(lambda: ended, "the end is told")
    assert seen == [b"0"]
    assert ended == [Reason.LOCAL if way == "close" else Reason.HANDLER]
    assert len(caplog.records) == (way == "fail")


def test_a_loop_sees_no_message_after_a_close(serve):
    server = serve()
    with Client.connect(server.address) as client:
        client.send_many([b"1", b"2", b"3"])
        seen = []
        for event in server:
            seen.append(type(event))
            if isinstance(event, Message):
                event.conn.close()
            if isinstance(event, Disconnected):
                break
    assert seen.count(Message) == 1


# ---- Errors are charged to their cause ----


def test_a_message_to_who_has_left_harms_nobody(serve, caplog):
    server, left = serve(), threading.Event()

    @server.on_message
    def pass_on(conn, data):
        number, text = data.split(b" ", 1)
        queued = server.send(int(number), text)
        conn.send(b"sent" if queued else b"gone")

    server.on_disconnect(lambda conn, reason: left.set())
    server.start()
    with Client.connect(server.address) as ann, Client.connect(server.address) as bob:
        server.wait_connections(2)
        ann.send(b"2 hello")
        assert ann.recv(timeout=WAIT) == b"sent"
        assert bob.recv(timeout=WAIT) == b"hello"
        bob.close()
        assert left.wait(WAIT)
        ann.send(b"2 are you there?")
        assert ann.recv(timeout=WAIT) == b"gone"
    assert not caplog.records


def test_an_error_about_another_connection_is_logged_and_closes_nothing(serve, caplog):
    server = serve()

    @server.on_message
    def look(conn, data):
        conn.send(str(server.connection(int(data)).number).encode())

    server.start()
    with Client.connect(server.address) as client:
        client.send_many([b"7", b"1"])
        assert client.recv(timeout=WAIT) == b"1"
    assert "handler of connection 1 failed because of 7" in caplog.text


def test_a_handler_does_not_wait_for_a_slow_client_without_bound(serve, dial, caplog):
    server = serve(slow_policy="block", log_bytes=1 << 19, handler_timeout=0.05, linger=0)

    @server.on_message
    def flood(conn, data):
        if data == b"flood":
            while True:
                server.broadcast(bytes(1 << 15))
        conn.send(b"served", timeout=WAIT)

    server.start()
    reads_nothing = dial(server)
    server.wait_connections(1, timeout=WAIT)
    reads_nothing.sendall(b"flood\n")
    wait_until(lambda: caplog.records, "the handler gives up")
    text = str(caplog.records[0].exc_info[1])
    assert "within 0.05 s, the handler_timeout" in text
    assert "log_bytes" in text and "connection 1 " in text
    server.close()


def test_a_full_outbox_is_named(serve, dial):
    server = serve(slow_policy="block", outbox_bytes_max=1 << 17, linger=0)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    with pytest.raises(
        TimeoutError, match="outbox_bytes_max = 131072 wait for connection 1"
    ) as caught:
        while True:
            assert server.send(1, bytes(1 << 16), timeout=0.01)
    assert caught.value.number == 1


def test_a_full_log_names_itself_and_who_is_behind_most_in_it(serve, dial):
    server = serve(slow_policy="block", linger=0)
    peers = [dial(server) for _ in range(2)]
    server.wait_connections(2, timeout=WAIT)
    prices = server.channel("prices", slow_policy="block", log_bytes=1 << 19)
    prices.subscribe(server.connection(2))
    with pytest.raises(TimeoutError, match="no room for a message of 65535 bytes") as caught:
        while True:
            prices.publish(bytes((1 << 16) - 1), timeout=0)
    text = str(caught.value)
    assert "channel 'prices' (log_bytes = 524288, slow_policy = 'block')" in text
    assert f"connection 2 {peers[1].getsockname()!r} has still to take" in text
    assert caught.value.number == 2


def test_a_timeout_holds_for_all_messages_of_a_call(serve, dial):
    server = serve(slow_policy="block", log_bytes=1 << 19, linger=0)
    server.start()
    peer, over = dial(server), threading.Event()

    def read():
        while not over.wait(0.004) and peer.recv(1 << 16):
            continue

    reader = threading.Thread(target=read)
    reader.start()
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match="of 2000 messages were published"):
            server.broadcast_many([bytes((1 << 16) - 1)] * 2000, timeout=0.6)
        assert time.monotonic() - begun < WAIT
    finally:
        over.set()
        server.close()
        reader.join(WAIT)


def read_until_reset(peer):
    """A server that does not linger may reset what has more to take."""
    with suppress(ConnectionResetError):
        read_to_end(peer)


def test_subscribing_again_waits_for_room_in_the_outbox(serve, dial):
    server = serve(slow_policy="block", outbox_bytes_max=1 << 17, linger=0)
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    conn, channel = server.connection(1), server.channel("x")

    with pytest.raises(TimeoutError):
        while True:
            server.broadcast(bytes(1 << 15), timeout=0)
    with pytest.raises(TimeoutError, match="outbox_bytes_max = 131072 wait for connection 1"):
        while channel.subscribe(conn, timeout=0.01):
            channel.publish(b"for you")
            channel.unsubscribe(conn)
            channel.publish(b"not for you")
    reader = threading.Thread(target=read_until_reset, args=(peer,))
    reader.start()
    assert channel.subscribe(conn, timeout=WAIT)
    server.close()
    reader.join(WAIT)


# ---- What would never run ----


async def coroutine(*args):
    """Never runs as a handler."""


async def async_generator(*args):
    yield


def generator(*args):
    yield


class AsyncCall:
    async def __call__(self, *args):
        """Never runs as a handler."""


@pytest.mark.parametrize(
    "handler",
    [
        coroutine,
        async_generator,
        generator,
        AsyncCall(),
        AsyncCall().__call__,
        functools.partial(functools.partial(coroutine), 1),
        functools.partial(AsyncCall()),
        None,
        "f",
    ],
)
@pytest.mark.parametrize("name", ["on_connect", "on_message", "on_gap", "on_disconnect"])
def test_a_handler_that_would_never_run_is_refused(serve, name, handler):
    with pytest.raises(TypeError, match=f"the handler of {name} (is called|must be a function)"):
        getattr(serve(), name)(handler)


def test_a_handler_that_returns_a_coroutine_fails(serve, caplog):
    server = serve()
    server.on_message(lambda conn, data: coroutine(conn, data))
    server.start()
    with Client.connect(server.address) as client:
        client.send(b"x")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)
    assert "has returned a coroutine, which nobody awaits" in caplog.text


# ---- Several threads ----


def at_once(count, call):
    """What count threads get that call at the same time."""
    start, results = threading.Barrier(count), []

    def ask():
        start.wait()
        try:
            results.append(call())
        except RuntimeError as error:
            results.append(error)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_channel_is_one_however_many_threads_ask_for_it(serve, fast_switching):
    server = serve(log_bytes=1 << 19)
    for number in range(200):
        name = f"room {number}"
        assert len(set(map(id, at_once(4, lambda name=name: server.channel(name))))) == 1


def test_of_several_threads_one_starts_the_server(serve, fast_switching):
    for _ in range(20):
        results = at_once(4, serve().start)
        assert sum(isinstance(result, RuntimeError) for result in results) == 3
