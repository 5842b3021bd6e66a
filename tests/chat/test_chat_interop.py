"""``fastsock-chat`` with programs as the lecture's are: stand-ins in tests/peers, as processes."""

import os
import signal
import sys
from pathlib import Path

import pytest

pytest_plugins = ["peers.fixtures"]

PEERS = Path(__file__).parents[1] / "peers"
KILLED = 128 + signal.SIGKILL
"""How the half that notices the end ends the other half of such a program."""


def stand_in(programs, name, *arguments):
    # Without -P: they import from their own directory.
    return programs.start(sys.executable, str(PEERS / f"{name}.py"), *map(str, arguments))


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


# ---- fastsock-chat connect with a server for one client ----


@pytest.fixture
def with_plain_server(programs):
    """A plain server and a client of ours that is connected to it."""
    server = stand_in(programs, "plain_server")
    client = programs.chat("connect", "127.0.0.1", server.expect("\n"))
    client.expect("connected to 127.0.0.1:", "stderr")
    return server, client


def test_connect_talks_with_a_plain_server_until_that_ends(with_plain_server):
    server, client = with_plain_server
    client.type("hello\n")
    server.expect("client say: hello\n")
    server.type("hello yourself\n")
    client.expect("hello yourself\n")
    server.type("end\n")
    assert client.wait() == 0
    assert client.err.endswith("the server has ended the conversation\n")
    assert server.wait() == 0


def test_connect_ends_a_plain_server_with_end_and_with_nothing_else(with_plain_server):
    server, client = with_plain_server
    client.type("endless\n")
    server.expect("client say:  endless\n")
    server.type("go on\n")
    client.expect("go on\n")
    client.type("end\n")
    server.expect("client say: end\n")
    assert client.wait() == 0
    assert server.wait() == KILLED


def test_a_plain_server_that_dies(with_plain_server):
    server, client = with_plain_server
    server.close_stdin()
    assert server.wait() == 0
    assert client.wait() == 0
    assert client.err.endswith("the server has closed the connection\n")


# ---- fastsock-chat connect and input with a server that polls once a second ----


def test_connect_and_input_with_a_polling_server(programs, fifo):
    server = stand_in(programs, "polling_server", fifo)
    port = server.expect("\n")
    clients = []
    for number in 1, 2:
        clients.append(programs.chat("connect", "127.0.0.1", port))
        server.expect(f"new connection {number}\n")
    first, second = clients
    terminal = programs.chat("input", str(fifo))
    terminal.type("to all\n")
    for client in first, second:
        client.expect("to all\n")
    first.type("one\ntwo\n")
    second.type("three\n")
    for text in "one\n", "two\n", "connection 2 say: three\n":
        server.expect_anywhere(text)
    terminal.type("@2 for the second\n")
    second.expect("@2 for the second\n")
    second.type("end\n")
    assert second.wait() == 0
    server.expect_anywhere("end\n")
    terminal.type("end\n")
    assert first.wait() == 0
    assert first.out == "to all\n"
    assert first.err.endswith("the server has ended the conversation\n")


# ---- fastsock-chat server with a client that is fed through a FIFO ----


def connected(programs, server, port, fifo):
    """Such a client, and our input terminal for it."""
    client = stand_in(programs, "fifo_client", fifo, port)
    terminal = programs.chat("input", str(fifo))
    terminal.type("hello\n")
    server.expect(": hello\n")
    return client, terminal


@pytest.mark.parametrize("options", [[], ["--single"], ["--single", "--queue"]])
def test_server_talks_with_a_fifo_client_and_ends_it(programs, fifo, options):
    server, port = programs.server(*options)
    client, _ = connected(programs, server, port, fifo)
    server.type("hello yourself\n")
    client.expect("server say: hello yourself\n")
    server.type("endless talk\n")
    client.expect("server say:  endless talk\n")
    server.type("end\n")
    client.expect("server say: end\n")
    assert server.wait() == 0
    assert client.wait() == KILLED


@pytest.mark.parametrize("options", [[], ["--single"]])
@pytest.mark.parametrize(
    ("text", "shown", "reason"),
    [("end", "", "said end"), ("endgame", "1: endgame\n", "closed by peer")],
)
def test_a_fifo_client_ends_and_the_next_one_may_come(programs, fifo, options, text, shown, reason):
    server, port = programs.server(*options)
    client, terminal = connected(programs, server, port, fifo)
    terminal.type(f"{text}\n")
    server.expect(f"{shown}client 1 left ({reason})\n")
    # Its half that hears the end first kills the other.
    assert client.wait() in (0, 128 + signal.SIGKILL)
    terminal.close_stdin()
    assert terminal.wait() == 0
    connected(programs, server, port, fifo)
    server.type("end\n")
    assert server.wait() == 0


def test_end_to_one_of_two_fifo_clients(programs, tmp_path):
    server, port = programs.server()
    clients = []
    for name in "first", "second":
        os.mkfifo(tmp_path / name)
        clients.append(connected(programs, server, port, tmp_path / name)[0])
    server.type("@1 endless\n@1 end\n")
    clients[0].expect("end\n")
    assert clients[0].wait() == KILLED
    server.expect("client 1 left (told to end)\n")
    server.type("only you\n")
    clients[1].expect("only you\n")
    assert "end" not in clients[1].out
