"""``fastsock-chat connect`` in plain form, against its server and plain sockets."""

import signal
import socket
import struct

import pytest
from conftest import read_exactly, read_to_end
from peers.process import WAIT

pytest_plugins = ["peers.fixtures"]


@pytest.fixture
def listener():
    """A plain listening socket, for what a server of ours does not do."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT)
        yield listening


def port_of(listener):
    return str(listener.getsockname()[1])


def accept(listener):
    peer, _ = listener.accept()
    peer.settimeout(WAIT)
    return peer


def connect(programs, port, *options, **keywords):
    return programs.chat("connect", "127.0.0.1", port, *options, **keywords)


# ---- Talking ----


def test_a_pipe_is_delivered_and_what_arrives_is_shown_until_the_server_ends(programs):
    server, port = programs.server()
    client = connect(programs, port)
    client.type("hello\nand more")
    client.close_stdin()
    server.expect("1: hello\n1: and more\n")
    server.type("still here?\nend\n")
    assert client.wait() == 0
    assert server.wait() == 0
    assert client.out == "still here?\n"
    server_name, address, end = client.err.splitlines()
    assert server_name == "server's official name 127.0.0.1, addresses 127.0.0.1"
    assert address.startswith(f"connected to 127.0.0.1:{port} from 127.0.0.1:")
    assert end == "the server has ended the conversation"


def test_exit_on_eof_delivers_and_ends(programs):
    server, port = programs.server()
    client = connect(programs, port, "--exit-on-eof")
    client.type("hello\n")
    client.close_stdin()
    assert client.wait() == 0
    server.expect("1: hello\nclient 1 left (said end)\n")


def test_two_talk_and_one_ends(programs):
    server, port = programs.server()
    first = connect(programs, port, "--name", "Ann")
    server.expect("client 1 joined")
    second = connect(programs, port)
    server.expect("client 2 joined")
    first.type("hello\nendless\n")
    second.expect("1: Ann: hello\n1: Ann: endless\n")
    second.type("endless talk\n")
    first.expect("2:  endless talk\n")
    first.type("end\nnot sent\n")
    assert first.wait() == 0
    server.expect("client 1 left (said end)\n")
    second.type("alone\n")
    server.expect("2: alone\n")
    assert "not sent" not in server.out


def test_a_large_pipe_arrives_whole(programs, listener):
    lines = b"".join(b"%06d %s\n" % (number, b"x" * 100) for number in range(30_000))
    client = connect(programs, port_of(listener), "--exit-on-eof")
    with accept(listener) as peer:
        client.type(lines)
        client.close_stdin()
        assert read_to_end(peer) == lines + b"end\n"
    assert client.wait() == 0


def test_end_goes_out_alone(programs, listener):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        client.type("hello\n")
        assert read_exactly(peer, 6) == b"hello\n"
        client.type("  end \n")
        assert read_to_end(peer) == b"end\n"
    assert client.wait() == 0


def test_what_the_server_sends_does_not_reach_the_terminal_raw(programs, listener):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        peer.sendall(b"\x1b]0;title\x07\xc3\n\xe4\xb8\xad\xe6\x96\x87\r\n")
        client.expect("\\x1b]0;title\\x07\ufffd\n中文\n")


# ---- Ending ----


def test_the_server_closes(programs, listener):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        peer.sendall(b"bye\n")
    assert client.wait() == 0
    assert client.out == "bye\n"
    assert client.err.endswith("the server has closed the connection\n")


def test_the_server_resets(programs, listener):
    client = connect(programs, port_of(listener))
    peer = accept(listener)
    client.expect("connected to", "stderr")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    assert client.wait() == 1
    assert client.err.endswith("fastsock-chat: connection reset by peer\n")


def test_a_server_that_never_ends_its_line(programs, listener):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        peer.sendall(b"x" * 70_000)
        assert client.wait() == 1
    assert "fastsock-chat: the peer's message is longer than" in client.err


@pytest.mark.parametrize(("signum", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_signals(programs, listener, signum, status):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        client.type("hello\n")
        assert read_exactly(peer, 6) == b"hello\n"
        client.interrupt(signal.Signals[signum])
        assert read_to_end(peer) == b""
    assert client.wait() == status
    assert "fastsock-chat: " not in client.err


def test_a_signal_while_the_server_reads_nothing(programs, listener, tmp_path):
    path = tmp_path / "lines"
    path.write_bytes((b"x" * 1023 + b"\n") * (1 << 15))  # more than the kernel takes
    with path.open("rb") as lines:
        client = connect(programs, port_of(listener), stdin=lines)
        with accept(listener) as peer:
            client.expect("connected to", "stderr")
            peer.recv(1)
            client.interrupt(signal.SIGTERM)
            assert client.wait() == 143


def test_stdout_closed_under_the_chat(programs, listener):
    client = connect(programs, port_of(listener))
    with accept(listener) as peer:
        client.expect("connected to", "stderr")
        client.close_stdout()
        peer.sendall(b"hello\n")
        assert client.wait() == 1
    assert client.err.endswith("fastsock-chat: cannot write to stdout: Broken pipe\n")


# ---- The command line ----


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 2, "Missing argument 'HOST'"),
        (["localhost:9000"], 2, "Missing argument 'PORT'"),
        (["127.0.0.1", "0"], 2, "0 is not in the range 1<=x<=65535"),
        (["127.0.0.1", "65536"], 2, "65536 is not in the range 1<=x<=65535"),
        (["no-such-host.invalid", "9000"], 1, "unknown host 'no-such-host.invalid'"),
        (["", "9000"], 2, "host must not be empty"),
        (["127.0.0.1", "9", "--name", "a\nb"], 2, "--name must be printable"),
        (["127.0.0.1", "9", "--name", "x" * 65], 2, "--name must be printable and at most 64"),
        (["127.0.0.1", "9", "--fifo", "/dev/null"], 1, "/dev/null exists and is no FIFO"),
    ],
)
def test_bad_arguments_are_one_line(programs, arguments, status, told):
    client = programs.chat("connect", *arguments)
    assert client.wait() == status
    assert client.out == ""
    assert client.err.startswith("fastsock-chat: ")
    assert told in client.err
    assert client.err.count("\n") == 1


def test_nobody_listens(programs, listener):
    port = port_of(listener)
    listener.close()
    client = connect(programs, port)
    assert client.wait() == 1
    assert client.err.startswith(f"fastsock-chat: cannot connect to 127.0.0.1:{port}: ")
    assert client.err.endswith("Connection refused\n")
    assert client.err.count("\n") == 1
