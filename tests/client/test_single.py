"""SingleServer: one client at a time, and what becomes of the others."""

import os
import resource
import signal
import socket
import threading
from time import monotonic

import pytest
from calls import Call, signal_until
from conftest import WAIT, read_exactly, read_to_end, wait_until

from fastsock import Client, ConnectionClosed, Endpoint, MessageTooBig, ServerClosed, SingleServer
from fastsock.client import single
from fastsock.client.single import REFUSAL

HOME = ("127.0.0.1", 0)


def call(server):
    return socket.create_connection(server.address, timeout=WAIT)


@pytest.fixture
def talking():
    """A server, its connection, and the plain socket at the other end."""
    opened = []

    def start(**options):
        server = SingleServer(HOME, linger=0.2, **options)
        peer = call(server)
        opened.extend((server, peer))
        return server, server.accept(timeout=WAIT), peer

    yield start
    for thing in reversed(opened):
        thing.close()


# ---- Talking ----


def test_messages_both_ways_until_the_client_leaves(talking):
    server, conn, peer = talking()
    assert conn.peer == peer.getsockname()
    assert conn.address == server.address == peer.getpeername()
    conn.send(b"welcome")
    assert read_exactly(peer, 8) == b"welcome\n"
    peer.sendall(b"one\ntwo\n")
    peer.shutdown(socket.SHUT_WR)
    assert not conn.closed
    assert list(conn) == [b"one", b"two"]
    assert conn.closed


def test_one_thread_sends_while_another_receives(talking):
    _, conn, peer = talking()
    lines = [b"%06d" % number for number in range(20_000)]
    stream = b"".join(line + b"\n" for line in lines)
    sending = Call(lambda: conn.send_many(lines, timeout=WAIT))
    answering = Call(lambda: peer.sendall(stream))
    receiving = Call(lambda: read_exactly(peer, len(stream)))
    received = []
    while len(received) < len(lines):
        received += conn.recv_many(1000, timeout=WAIT)
    assert received == lines
    assert receiving.wait_result() == stream
    assert sending.wait_result() is None
    assert answering.wait_result() is None


@pytest.mark.parametrize("framing", ["line", "length", "raw"])
def test_a_client_of_ours(framing, tmp_path):
    path = tmp_path / "socket"
    with (
        SingleServer(path, framing=framing) as server,
        Client.connect(path, framing=framing) as client,
        server.accept(timeout=WAIT) as conn,
    ):
        assert server.address == str(path)
        client.send(b"hello")
        assert conn.recv(timeout=WAIT) == b"hello"
        conn.send(b"hello yourself")
        assert client.recv(timeout=WAIT) == b"hello yourself"
    assert not path.exists()


def test_ipv6():
    with SingleServer(("::1", 0)) as server, Client.connect(server.address) as client:
        conn = server.accept(timeout=WAIT)
        assert conn.peer == client.address
        assert repr(server) == f"<SingleServer [::1]:{server.address[1]}>"


def test_a_message_that_is_too_big_is_an_error_and_others_may_follow(talking):
    server, conn, peer = talking(message_bytes_max=10)
    peer.sendall(b"x" * 20)
    with pytest.raises(MessageTooBig, match="message_bytes_max = 10"):
        conn.recv(timeout=WAIT)
    conn.close()
    with call(server) as next_peer:
        next_peer.sendall(b"x\n")
        assert server.accept(timeout=WAIT).recv(timeout=WAIT) == b"x"


# ---- Others ----


def refused(server):
    with call(server) as other:
        other.sendall(b"let me in\n")
        return read_to_end(other)


def test_a_second_client_is_refused_with_a_reason_and_a_later_one_is_served(talking):
    server, conn, peer = talking()
    for _ in range(3):
        assert refused(server) == REFUSAL + b"\n"
    peer.sendall(b"still here\n")
    assert conn.recv(timeout=WAIT) == b"still here"
    peer.close()
    assert list(conn) == []
    with call(server) as later:
        later.sendall(b"now me\n")
        assert server.accept(timeout=WAIT).recv(timeout=WAIT) == b"now me"
        assert conn.fileno() == -1
        assert refused(server) == REFUSAL + b"\n"


def test_a_refused_client_that_stays_does_not_keep_others_from_their_refusal(talking):
    server, _, _ = talking()
    with call(server) as stays:
        assert read_exactly(stays, len(REFUSAL) + 1) == REFUSAL + b"\n"
        assert refused(server) == REFUSAL + b"\n"


def test_a_refused_client_that_stays_does_not_hold_up_an_accept_beyond_its_timeout(
    talking, monkeypatch
):
    monkeypatch.setattr(single, "REFUSAL_LINGER", WAIT)
    server, conn, _ = talking()
    with call(server) as stays:
        assert read_exactly(stays, len(REFUSAL) + 1) == REFUSAL + b"\n"
        conn.close()
        begun = monotonic()
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="still being refused after"):
                server.accept(timeout=timeout)
        assert monotonic() - begun < WAIT / 2
    with call(server) as later:
        assert server.accept(timeout=WAIT).peer == later.getsockname()
        assert refused(server) == REFUSAL + b"\n"


def test_the_refusal_is_framed(talking):
    server, _, _ = talking(framing="length")
    with Client.connect(server.address, framing="length") as other:
        assert list(other) == [REFUSAL]


def test_with_queue_a_second_client_waits(talking):
    server, conn, peer = talking(queue=True)
    with call(server) as second, call(server) as third:
        second.sendall(b"second\n")
        third.sendall(b"third\n")
        peer.sendall(b"first\n")
        peer.close()
        assert list(conn) == [b"first"]
        assert server.accept(timeout=WAIT).recv(timeout=WAIT) == b"second"
        second.close()
        with pytest.raises(RuntimeError, match=r"client 127.0.0.1:\d+ is still here; close\(\)"):
            server.accept(timeout=WAIT)  # it has left, but this side does not know yet


def test_who_is_served_by_nobody_yet_waits(talking):
    server, conn, _ = talking()
    conn.close()
    with call(server) as other:
        assert server.accept(timeout=WAIT).peer == other.getsockname()


def test_without_a_descriptor_for_them_others_are_closed_at_once(talking, caplog):
    server, conn, peer = talking()
    caller, later = socket.socket(), socket.socket()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(later.fileno())
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, limits[1]))
    try:
        caller.settimeout(WAIT)
        caller.connect(server.address)
        assert caller.recv(1) == b""
        conn.send(b"go on")
        assert read_exactly(peer, 6) == b"go on\n"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: "callers refused: 1 at 127.0.0.1:" in caplog.text, "the log tells")
    conn.close()
    later.connect(server.address)
    assert server.accept(timeout=WAIT).peer == later.getsockname()
    caller.close()
    later.close()


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_the_thread_that_refuses_callers_does_not_end_in_silence(
    talking, caplog, monkeypatch, error
):
    server, conn, peer = talking()

    def failing(*_, **__):
        raise error("unheard of")

    monkeypatch.setattr(Endpoint, "send", failing)
    with call(server):
        wait_until(lambda: caplog.records, "the server says so")
    assert "the thread that refuses callers has failed; they wait now" in caplog.text
    assert "unheard of" in caplog.text
    monkeypatch.undo()
    conn.close()
    with call(server) as other:
        assert server.accept(timeout=WAIT).peer == other.getsockname()


# ---- Waiting and closing ----


def test_nobody_calls():
    with SingleServer(HOME) as server, pytest.raises(TimeoutError, match="after 0.01 s"):
        server.accept(timeout=0.01)


def test_one_conversation_at_a_time(talking):
    server, conn, peer = talking()
    host, port = peer.getsockname()
    with pytest.raises(RuntimeError, match=f"the client {host}:{port} is still here; close"):
        server.accept(timeout=WAIT)
    conn.send(b"undisturbed")
    assert read_exactly(peer, 12) == b"undisturbed\n"


def test_close_ends_an_accept_that_waits_in_another_thread():
    server = SingleServer(HOME)
    waiting = Call(server.accept)
    waiting.wait_asleep()
    server.close()
    assert isinstance(waiting.wait_result(), ServerClosed)
    with pytest.raises(ServerClosed, match="the server is closed"):
        server.accept()
    server.close()


def test_close_ends_the_conversation_and_refuses_everybody(talking):
    server, conn, peer = talking()
    conn.send(b"last words")
    server.close()
    assert read_to_end(peer) == b"last words\n"
    assert conn.closed
    with pytest.raises(ConnectionClosed, match="the connection is closed"):
        conn.send(b"more")
    with pytest.raises(ConnectionRefusedError):
        call(server)


def test_a_signal_handler_may_close_the_server():
    server = SingleServer(HOME)
    handled = threading.Event()

    def handler(*_):
        handled.set()
        server.close()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signals = signal_until(handled, signal.SIGUSR1)
        with pytest.raises(ServerClosed):
            server.accept(timeout=WAIT)
        signals.wait_result()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_was_said_before_the_end_is_heard_after_finish(talking):
    server, conn, peer = talking(framing="line")
    peer.sendall(b"one\ntwo\n")
    conn.finish()
    with pytest.raises(ConnectionClosed, match=r"nothing can be sent after finish\(\)"):
        conn.send(b"late")
    assert peer.recv(1) == b""
    assert not conn.closed
    peer.sendall(b"three\n")
    peer.close()
    assert list(conn) == [b"one", b"two", b"three"]
    server.close()
    assert conn.bytes_unheard == 0


def test_finish_says_everything_first_and_has_a_limit(talking):
    server, conn, peer = talking()
    conn.send(b"last words")
    conn.finish(timeout=0)
    assert read_to_end(peer) == b"last words\n"
    server.close()
    with pytest.raises(ConnectionClosed):
        conn.finish()


def test_a_close_tells_how_much_was_not_heard(talking, caplog):
    server, conn, peer = talking()
    peer.sendall(b"heard\nwaits\n")
    assert conn.recv(timeout=WAIT) == b"heard"
    assert (conn.pending, conn.bytes_unheard) == (1, 0)
    peer.sendall(b"with the kernel\n")
    peer.shutdown(socket.SHUT_WR)
    with caplog.at_level("INFO", logger="fastsock"):
        server.close()
    assert conn.bytes_unheard == len(b"waits\nwith the kernel\n")
    assert "22 bytes that were sent were not received" in caplog.text


@pytest.mark.parametrize("framing", ["line", "length"])
def test_a_message_of_its_client_that_never_ended_is_told(talking, framing):
    _, conn, peer = talking(framing=framing)
    peer.sendall(b"\0\0\0")
    peer.close()
    with pytest.raises(ConnectionClosed, match="unfinished message"):
        list(conn)


def test_a_connection_is_given_away(talking):
    server, conn, peer = talking(queue=True)
    with socket.socket(fileno=conn.detach()) as given:
        assert given.getpeername() == peer.getsockname()
        assert (conn.closed, conn.fileno()) == (True, -1)
        conn.close()
        with call(server) as later:
            assert server.accept(timeout=WAIT).peer == later.getsockname()
        with Client.from_socket(given) as taken:
            taken.send(b"still open")
            assert read_exactly(peer, 11) == b"still open\n"
    with pytest.raises(ConnectionClosed, match="the connection is closed"):
        conn.detach()


def test_a_connection_in_use_is_not_given_away(talking):
    _, conn, peer = talking()
    receiving = Call(lambda: conn.recv(timeout=WAIT))
    receiving.wait_asleep()
    with pytest.raises(RuntimeError, match="no thread sends or receives"):
        conn.detach()
    peer.sendall(b"one\ntwo\n")
    assert receiving.wait_result() == b"one"
    with pytest.raises(RuntimeError, match="would lose 4 bytes that were received and 0 that"):
        conn.detach()
    assert conn.recv(timeout=0) == b"two"


def test_a_server_can_be_started_again_on_its_address_at_once(talking):
    server, conn, _ = talking()
    address = server.address
    conn.close()
    server.close()
    SingleServer(address).close()


def test_a_forked_child_closes_nothing_of_its_parent(talking):
    server, conn, peer = talking(queue=True)
    child = os.fork()
    if child == 0:
        conn.close()
        server.close()
        os._exit(0 if conn.fileno() == -1 else 1)
    assert os.waitpid(child, 0) == (child, 0)
    conn.send(b"undisturbed")
    assert read_exactly(peer, 12) == b"undisturbed\n"
    conn.close()
    with call(server) as other:
        assert server.accept(timeout=WAIT).peer == other.getsockname()


def test_a_stale_socket_file_gives_way_and_a_live_one_does_not(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with SingleServer(path), pytest.raises(OSError, match="cannot listen on .*: Address already"):
        SingleServer(path)


# ---- Bad input ----


@pytest.mark.parametrize(
    ("address", "options", "error", "text"),
    [
        ("localhost:9000", {}, ValueError, r"must be a tuple: \('localhost', 9000\)"),
        (("192.0.2.1", 0), {}, OSError, "cannot listen on 192.0.2.1:0: Cannot assign"),
        (HOME, {"framing": "text"}, ValueError, "framing must be one of .*, not 'text'"),
        (HOME, {"message_bytes_max": 0}, ValueError, "message_bytes_max must be from 1"),
        (HOME, {"outbox_bytes_max": 0}, ValueError, "outbox_bytes_max must be from 1"),
        (HOME, {"linger": "1"}, TypeError, "linger must be a number of seconds, not '1'"),
        (HOME, {"busy_poll_us": -1}, ValueError, "busy_poll_us must be from 0"),
        (HOME, {"backlog": 0}, ValueError, "backlog must be from 1 to 2147483647, not 0"),
    ],
)
def test_wrong_arguments_are_explained(address, options, error, text):
    with pytest.raises(error, match=text):
        SingleServer(address, **options)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none(timeout):
    with SingleServer(HOME) as server, pytest.raises(ValueError, match="timeout must be None or"):
        server.accept(timeout=timeout)


def test_a_connection_is_made_by_connecting_or_accepting():
    for kind in Endpoint, Client:
        with pytest.raises(TypeError, match="use Client.connect"):
            kind()


def test_a_timeout_of_accept_holds_beside_another_thread(tmp_path):
    with SingleServer(tmp_path / "socket") as server:
        waiting = Call(lambda: server.accept(timeout=WAIT))
        waiting.wait_asleep()
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="another thread accepts still after"):
                server.accept(timeout=timeout)
        server.close()
        assert isinstance(waiting.wait_result(), ServerClosed)
