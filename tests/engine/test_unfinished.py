"""The end of a stream in the middle of a message: it is told, or ends the last line."""

import socket
import struct
import subprocess

import pytest
from conftest import WAIT, read_to_end, wait_until

from fastsock import (
    Client,
    ConnectionClosed,
    Disconnected,
    Message,
    MessageTooBig,
    MultiServer,
    Reason,
    SingleServer,
)

HALVES = [
    pytest.param("line", b"one\n", b"ha", id="line"),
    pytest.param("length", b"\0\0\0\3one", b"\0\0\0\4ha", id="length"),
    pytest.param("length", b"\0\0\0\3one", b"\0\0", id="header"),
]


def heard(server):
    """What the server's only client says until it has gone, and why it has."""
    said = []
    for event in server:
        if isinstance(event, Message):
            said.append(event.data)
        elif isinstance(event, Disconnected):
            return said, event.reason
    raise AssertionError("nobody came and went")


@pytest.fixture
def ends():
    """Two ends of a stream: a plain socket, and a Client or the connection of a SingleServer."""
    opened = []

    def connect(kind, **options):
        if kind == "client":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                end = Client.connect(listener.getsockname(), timeout=WAIT, **options)
                peer, _ = listener.accept()
        else:
            server = SingleServer(("127.0.0.1", 0), linger=0.2, **options)
            opened.append(server)
            peer = socket.create_connection(server.address, timeout=WAIT)
            end = server.accept(timeout=WAIT)
        opened.extend((end, peer))
        return end, peer

    yield connect
    for thing in reversed(opened):
        thing.close()


# ---- Servers ----


@pytest.mark.parametrize(("framing", "whole", "half"), HALVES)
def test_a_server_tells_of_a_message_that_never_ended(serve, framing, whole, half):
    server = serve(framing=framing)
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(whole + half)
        peer.shutdown(socket.SHUT_WR)
        assert heard(server) == ([b"one"], Reason.UNFINISHED)
    stats = server.stats()
    assert stats.messages_unfinished == 1 and stats.ended == {Reason.UNFINISHED: 1}
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(whole)
        peer.shutdown(socket.SHUT_WR)
        assert heard(server) == ([b"one"], Reason.PEER)
    assert server.stats().messages_unfinished == 1


def test_a_reset_in_the_middle_of_a_message_is_counted_too(serve):
    server = serve()
    peer = socket.create_connection(server.address, timeout=WAIT)
    peer.sendall(b"ha")
    wait_until(lambda: server.poll(timeout=0) or server.stats().bytes_received == 2, "it is read")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert heard(server) == ([], Reason.RESET)
    assert server.stats().messages_unfinished == 1


def test_it_is_told_also_where_sending_found_the_end_first(tmp_path):
    path = str(tmp_path / "s")
    with MultiServer(path, linger=0.2) as server:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(path)
        conn = server.poll()[0].conn
        peer.sendall(b"one\nha")
        peer.close()
        conn.send(b"nobody takes it")
        assert heard(server) == ([b"one"], Reason.UNFINISHED)
        assert conn.send(b"nor this") is False
        assert server.stats().messages_unfinished == 1


# ---- Clients ----


@pytest.mark.parametrize("kind", ["client", "single"])
@pytest.mark.parametrize(("framing", "whole", "half"), HALVES)
def test_a_client_raises_for_a_message_that_never_ended(ends, kind, framing, whole, half):
    end, peer = ends(kind, framing=framing)
    peer.sendall(whole + half)
    peer.shutdown(socket.SHUT_WR)
    heard = []
    with pytest.raises(ConnectionClosed) as caught:
        heard.extend(iter(end.__next__, None))
    assert end.closed
    assert (caught.value.reason, caught.value.by) == (Reason.UNFINISHED, "peer")
    for receive in (end.recv, lambda: end.recv_into(bytearray(10))):
        with pytest.raises(ConnectionClosed, match="unfinished message"):
            receive()


@pytest.mark.parametrize(("framing", "whole", "half"), HALVES)
def test_receiving_into_a_buffer_raises_as_well(ends, framing, whole, half):
    end, peer = ends("client", framing=framing)
    peer.sendall(whole)
    buffer = bytearray(10)
    assert end.recv_into(buffer) == 3
    peer.sendall(half)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosed, match="unfinished message"):
        end.recv_into(buffer)


# ---- The last line ----


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"hello", [b"hello"]),
        (b"one\ntwo\r", [b"one", b"two"]),
        (b"one\n", [b"one"]),
        (b"one\n\r", [b"one", b""]),
        (b"", []),
        (b"x\n" * 5000 + b"last", [b"x"] * 5000 + [b"last"]),
    ],
    ids=["alone", "return", "none", "return alone", "nothing", "more than a turn's events"],
)
def test_the_last_line_needs_no_newline_where_that_is_wanted(serve, ends, stream, messages):
    server = serve(final_line=True)
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(stream)
        peer.shutdown(socket.SHUT_WR)
        assert heard(server) == (messages, Reason.PEER)
    assert server.stats().messages_unfinished == 0
    for kind in ("client", "single"):
        end, peer = ends(kind, final_line=True)
        peer.sendall(stream)
        peer.shutdown(socket.SHUT_WR)
        assert list(end) == messages


def test_a_last_line_is_relayed_before_its_speaker_has_gone(serve, dial):
    server = serve(final_line=True, relay="others").start()
    listener, speaker = dial(server), dial(server)
    server.wait_connections(2, timeout=WAIT)
    for byte in b"hello":
        speaker.sendall(bytes([byte]))
    speaker.close()
    wait_until(lambda: len(server.connections) == 1, "the speaker has gone")
    server.close()
    assert read_to_end(listener) == b"hello\n"


def test_netcat_is_heard_to_the_end(serve):
    server = serve(final_line=True)
    host, port = server.address
    with subprocess.Popen(["nc", "-N", host, str(port)], stdin=subprocess.PIPE) as netcat:
        netcat.stdin.write(b"hello")
        netcat.stdin.close()
        assert heard(server) == ([b"hello"], Reason.PEER)


def test_a_last_line_above_the_limit_is_too_big(serve):
    server = serve(final_line=True, message_bytes_max=10)
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(b"x" * 11)
        peer.shutdown(socket.SHUT_WR)
        assert heard(server) == ([], Reason.TOO_BIG)


# ---- Another framing ----

OTHERS = [
    pytest.param("length", b"hello\n", id="lines"),
    pytest.param("length", b"GET / HTTP/1.1\r\n", id="http"),
    pytest.param("length", b"\x16\x03\x01\x02\x00\x01", id="tls"),
    pytest.param("line", b"\0\0\1\0" + bytes(256), id="lengths"),
]


@pytest.mark.parametrize(("framing", "said"), OTHERS)
def test_a_client_that_speaks_another_framing_is_told_from_one_that_says_too_much(
    serve, framing, said
):
    server = serve(framing=framing, message_bytes_max=200)
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(said)
        assert heard(server) == ([], Reason.FRAMING)
        assert "another framing" in Reason.FRAMING


@pytest.mark.parametrize(("framing", "said"), OTHERS)
def test_a_peer_that_speaks_another_framing_is_named(ends, framing, said):
    end, peer = ends("client", framing=framing, message_bytes_max=200)
    peer.sendall(said)
    with pytest.raises(MessageTooBig, match="200; the peer speaks another framing than") as caught:
        end.recv(timeout=WAIT)
    assert repr(said[:5])[:-1] in str(caught.value)


@pytest.mark.parametrize("make", [MultiServer, SingleServer, Client.connect])
def test_a_final_line_is_for_line_framing(make):
    with pytest.raises(ValueError, match=r"^final_line=True is for framing='line', not 'length'"):
        make(("127.0.0.1", 0), framing="length", final_line=True)
    with pytest.raises(TypeError, match=r"^final_line must be a bool, not 1"):
        make(("127.0.0.1", 0), final_line=1)
