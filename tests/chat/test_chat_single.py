"""``fastsock-chat server --single``, with netcat and plain sockets as clients."""

import resource
import signal
import socket

import pytest
from calls import Call
from conftest import read_exactly, read_to_end
from peers.process import WAIT

from fastsock.client.single import REFUSAL

pytest_plugins = ["peers.fixtures"]


def connect(port):
    return socket.create_connection(("127.0.0.1", int(port)), timeout=WAIT)


@pytest.fixture
def single(programs):
    return programs.server("--single")


# ---- Talking ----


def test_one_client_and_then_another(single):
    server, port = single
    for number in 1, 2:
        with connect(port) as client:
            server.expect(f"client {number} joined from 127.0.0.1:")
            client.sendall(b"hello\r\nendless\n")
            server.expect(f"{number}: hello\n{number}: endless\n")
            server.type("welcome\n@1 is text\nendless\n")
            said = b"welcome\n@1 is text\n endless\n"
            assert read_exactly(client, len(said)) == said
        server.expect(f"client {number} left (closed by peer)\n")
    server.type("end\n")
    assert server.wait() == 0
    assert server.err == ""


def test_a_second_client_is_refused_with_a_reason(single, programs):
    server, port = single
    with connect(port) as client:
        server.expect("client 1 joined")
        second = programs.chat("connect", "127.0.0.1", port)
        assert second.wait() == 0
        assert second.out == REFUSAL.decode() + "\n"
        assert second.err.endswith("the server has closed the connection\n")
        client.sendall(b"undisturbed\n")
        server.expect("1: undisturbed\n")


def test_with_queue_a_second_client_waits(programs):
    server, port = programs.server("--single", "--queue")
    with connect(port) as client, connect(port) as second:
        server.expect("client 1 joined")
        second.sendall(b"patiently\n")
        client.sendall(b"end\n")
        assert read_to_end(client) == b""
        server.expect("client 1 left (said end)\nclient 2 joined")
        server.expect("2: patiently\n")


def test_a_fifo_and_the_end(programs, tmp_path):
    fifo = tmp_path / "fifo"
    server, port = programs.server("--single", "--fifo", str(fifo))
    with connect(port) as client:
        server.expect("client 1 joined")
        fifo.write_text("hello\nend\n")
        assert read_to_end(client) == b"hello\nend\n"
    assert server.wait() == 0
    assert not fifo.exists()


# ---- Commands and mistakes ----


def test_commands(single):
    server, port = single
    server.type("/who\n")
    server.expect("nobody is connected\n")
    with connect(port) as client:
        server.expect("client 1 joined")
        server.type("/who\n")
        server.expect("client 1 from 127.0.0.1:")
        server.type("/help\n")
        for line in "/who: ", "/kick: ", "/help: ":
            server.expect(line)
        server.type("/kick\n")
        assert read_to_end(client) == b""
    server.expect("client 1 left (kicked)\n")


@pytest.mark.parametrize("line", ["hello", "/kick"])
def test_with_nobody_there_the_typist_is_told(single, line):
    server, _ = single
    server.type(f"{line}\n")
    server.expect("fastsock-chat: nobody is connected: nothing was sent\n", "stderr")
    server.type("end\n")
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--queue"], "--queue is for --single"),
        (["--single", "--relay", "all"], "--single has nobody to relay to: leave out --relay"),
        (["--single", "--verbatim"], "--single has nobody to relay to: leave out --verbatim"),
    ],
)
def test_options_that_do_not_go_together(programs, options, told):
    server = programs.chat("server", *options)
    assert server.wait() == 2
    assert server.err.startswith(f"fastsock-chat: {told}")
    assert server.err.count("\n") == 1


# ---- Faults ----


def test_a_line_that_never_ends_closes_its_client_alone(single):
    server, port = single
    with connect(port) as endless:
        endless.sendall(b"x" * 70_000)
        server.expect("client 1 left (the peer's message is longer than message_bytes_max")
    with connect(port):
        server.expect("client 2 joined")


@pytest.mark.parametrize(("signum", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals(single, signum, status):
    server, port = single
    with connect(port) as client:
        server.expect("client 1 joined")
        server.type("x" * 50_000 + "\n")
        assert read_exactly(client, 1) == b"x"
        server.interrupt(signal.Signals[signum])
        assert read_to_end(client) == b"x" * 49_999 + b"\n"
    assert server.wait() == status
    assert server.err == ""


def test_a_signal_while_the_client_reads_nothing(single):
    server, port = single
    with connect(port):
        server.expect("client 1 joined")
        typing = Call(lambda: server.type(("y" * 60_000 + "\n") * 1000))
        typing.wait_asleep()
        server.interrupt(signal.SIGTERM)
        assert server.wait() == 143
    assert isinstance(typing.wait_result(), BrokenPipeError)


def test_stdout_closed_under_the_chat(single):
    server, port = single
    server.close_stdout()
    with connect(port) as client:
        assert read_to_end(client) == b""
    assert server.wait() == 1
    assert server.err == "fastsock-chat: cannot write to stdout: Broken pipe\n"


def test_descriptors_running_out(single):
    server, port = single
    with connect(port):
        server.expect("client 1 joined")
        _, hard = resource.prlimit(server.child.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.child.pid, resource.RLIMIT_NOFILE, (3, hard))
    assert server.wait() == 1
    assert server.err == "fastsock-chat: no more clients: accept: Too many open files\n"
