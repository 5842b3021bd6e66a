"""``fastsock-chat`` in a terminal: a prompt below the conversation."""

import re
import signal
import socket

import pytest
from conftest import read_exactly, read_to_end
from peers.process import WAIT

from fastsock.fifo import RECORD_BYTES, record

pytest_plugins = ["peers.fixtures"]

CTRL_C, CTRL_D, CTRL_U = "\x03", "\x04", "\x15"


@pytest.fixture
def server(terminal):
    """A server in a terminal, with its port as an attribute."""
    return begun(terminal("server"))


def begun(started):
    started.expect("listening on 127.0.0.1:")
    started.expect(">")
    started.port = int(re.search(rb"127.0.0.1:(\d+)", started.text)[1])
    return started


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)


# ---- Talking ----


def test_the_conversation_is_above_the_prompt_in_colours(server):
    with connect(server) as first, connect(server) as second:
        server.expect("client 2 joined from 127.0.0.1:")
        first.sendall(b"hello\n")
        server.expect("1: hello")
        second.sendall("grüß dich\n".encode())
        server.expect("2: grüß dich")
        server.expect(">")
        server.type("welcome\r")
        server.type("@1 for you\r")
        to_first = "2: grüß dich\nwelcome\nfor you\n".encode()
        assert read_exactly(first, len(to_first)) == to_first
        assert read_exactly(second, 17) == b"1: hello\nwelcome\n"
    colours = [re.search(rb"\x1b\[(\d+)m%d: " % speaker, server.raw)[1] for speaker in (1, 2)]
    assert colours[0] != colours[1]


def test_what_is_half_typed_stays_when_a_line_arrives(server):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("half a sen")
        server.expect("half a sen")
        client.sendall(b"sorry to interrupt\n")
        server.expect("1: sorry to interrupt")
        server.expect("half a sen")
        server.type("tence\r")
        assert read_exactly(client, 16) == b"half a sentence\n"


def test_commands_and_a_mistyped_one(server):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("/help\r")
        server.expect("/kick N: closes the connection of client N")
        server.type("/kcik 1\r")
        server.expect("no command /kcik; to send it as text, put a space in front")
        server.type(f"{CTRL_U}@7 hi\r")
        server.expect("there is no client 7; connected: 1")
        server.type("/kick 1\r")
        server.expect("client 1 left (kicked)")
        assert read_to_end(client) == b""


def test_a_blank_line_is_not_sent(server):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("\r  \rhello\r")
        assert read_exactly(client, 6) == b"hello\n"


def test_a_peer_does_not_control_the_terminal(server):
    with connect(server) as client:
        client.sendall(b"\x1b]0;evil\x07 \x1b[2J \x9b2J [bold]plain[/bold] :smile:\n")
        server.expect("1: \\x1b]0;evil\\x07 \\x1b[2J \ufffd2J [bold]plain[/bold] :smile:")
    assert b"\x1b]0;" not in server.raw
    assert b"\x1b[2J" not in server.raw


def test_pasted_lines_are_messages_and_commands(server):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("\x1b[200~first\rsecond\r/who\x1b[201~\r")
        assert read_exactly(client, 13) == b"first\nsecond\n"
        server.expect("client 1 from 127.0.0.1:")


def test_the_prompt_works_while_a_client_floods_it(server, programs, tmp_path):
    flood = tmp_path / "flood"
    flood.write_bytes(b"all work and no play makes for a dull chat\n" * 1_000_000)
    with flood.open("rb") as lines:
        programs.start("nc", "127.0.0.1", str(server.port), stdin=lines)
        server.expect("1: all work")
        server.type("/kick 1\r")
        server.expect("client 1 left (kicked)")
    server.type("end\r")
    assert server.wait() == 0


# ---- A client and an input terminal ----


def test_connect_shows_the_server_and_ends_with_it(server, terminal):
    client = terminal("connect", "localhost", str(server.port), "--name", "Ann")
    client.expect("server's official name localhost, addresses ")
    client.expect(f"connected to 127.0.0.1:{server.port} from 127.0.0.1:")
    client.expect(">")
    server.expect("client 1 joined")
    client.type("hello\r")
    server.expect("1: Ann: hello")
    server.type("hello Ann\r")
    client.expect("hello Ann")
    client.type("half typed")
    server.type("end\r")
    client.expect("the server has ended the conversation")
    assert client.wait() == 0
    assert server.wait() == 0


def test_input_terminal(terminal, tmp_path):
    fifo = tmp_path / "fifo"
    typist = terminal("input", str(fifo))
    typist.expect(">")
    typist.type("hello\r")
    typist.expect(f"waiting for a reader of {fifo}"[:60])
    with open(fifo, "rb") as reader:
        assert reader.read(RECORD_BYTES) == record(b"hello")
    typist.type("x" * 1023 + "\r")
    typist.expect("a text of 1023 bytes does not fit a record")
    typist.expect(">")
    typist.type(CTRL_D)
    assert typist.wait() == 1
    assert not fifo.exists()


# ---- Ending ----


@pytest.mark.parametrize("keys", ["end\r", CTRL_D])
def test_end_and_ctrl_d_end_the_server(server, keys):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type(keys)
        assert read_to_end(client) == b"end\n"
        server.expect("client 1 left (server closed)")
    assert server.wait() == 0


def test_ctrl_d_ends_a_server_for_one(terminal):
    server = terminal("server", "--single")
    server.expect("listening on 127.0.0.1:")
    server.expect(">")
    server.port = int(re.search(rb"127.0.0.1:(\d+)", server.text)[1])
    with connect(server) as client:
        server.expect("client 1 joined")
        client.sendall(b"hello\n")
        server.expect("1: hello")
        server.type("hello yourself\r")
        assert read_exactly(client, 15) == b"hello yourself\n"
        server.type(CTRL_D)
        assert read_to_end(client) == b"end\n"
        server.expect("client 1 left (server closed)")
    assert server.wait() == 0


def test_ctrl_d_ends_a_client(server, terminal):
    client = terminal("connect", "127.0.0.1", str(server.port))
    client.expect(">")
    client.type(CTRL_D)
    assert client.wait() == 0
    server.expect("client 1 left (said end)")


def test_ctrl_c(server):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("half typed" + CTRL_C)
        assert read_to_end(client) == b""
    assert server.wait() == 130


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_drain_and_leave_the_terminal_as_it_was(server, signum, status):
    with connect(server) as client:
        server.expect("client 1 joined")
        server.type("x" * 500 + "\r")
        assert read_exactly(client, 1) == b"x"
        server.child.send_signal(signum)
        assert read_to_end(client) == b"x" * 499 + b"\n"
    assert server.wait() == status


def test_a_signal_ends_an_input_that_waits_for_a_reader(terminal, tmp_path):
    typist = terminal("input", str(tmp_path / "fifo"))
    typist.expect(">")
    typist.type("hello\r")
    typist.expect("waiting for a reader")
    typist.child.send_signal(signal.SIGTERM)
    assert typist.wait() == 143
    assert not (tmp_path / "fifo").exists()


@pytest.mark.parametrize("ignores", [(), (signal.SIGHUP,)], ids=["signal", "no signal"])
def test_a_terminal_that_hangs_up_ends_the_server(terminal, ignores):
    server = begun(terminal("server", ignores=ignores))
    with connect(server) as client:
        server.expect("client 1 joined")
        server.hang_up()
        assert read_to_end(client) in (b"", b"end\n")
    assert server.child.wait(WAIT) == 129
