"""``fastsock-chat`` as a job of a shell, and with terminals and pipes as others leave them."""

import fcntl
import os
import re
import socket
import struct
import termios

import pytest
from conftest import read_exactly, wait_until
from peers.process import WAIT
from peers.tmux import Tmux

pytest_plugins = ["peers.fixtures"]

LINES = 3000


@pytest.fixture
def tmux(tmp_path):
    """A terminal named "shell", with a shell that has jobs."""
    started = Tmux(tmp_path)
    try:
        started.open("shell")
        yield started
    finally:
        started.close()


def connect(text):
    port = re.search(r"listening on 127\.0\.0\.1:(\d+)", text)[1]
    return socket.create_connection(("127.0.0.1", int(port)), timeout=WAIT)


# ---- Jobs ----


def test_a_server_in_the_background_is_not_stopped_by_a_key(tmux):
    tmux.type("shell", "fastsock-chat server &")
    with connect(tmux.expect("shell", "listening on 127.0.0.1:")) as client:
        tmux.type("shell", "echo a $((40 + 2))")
        tmux.expect("shell", "\na 42")
        client.sendall(b"hello\n")
        tmux.expect("shell", "1: hello")
        tmux.type("shell", "jobs")
        assert "Stopped" not in tmux.expect("shell", "Running")


def test_ctrl_z_suspends_and_fg_resumes(tmux):
    tmux.type("shell", "fastsock-chat server")
    tmux.expect("shell", "\n>")
    with connect(tmux.expect("shell", "listening on 127.0.0.1:")) as client:
        tmux.expect("shell", "client 1 joined")
        tmux.press("shell", "C-z")
        tmux.expect("shell", "Stopped")
        client.sendall(b"while you were away\n")
        tmux.type("shell", "echo a $((40 + 2))")
        assert "while you were away" not in tmux.expect("shell", "\na 42")
        tmux.type("shell", "fg")
        tmux.expect("shell", "1: while you were away")
        tmux.type("shell", "welcome")
        assert read_exactly(client, 8) == b"welcome\n"
        tmux.type("shell", "end")
        tmux.expect_shell("shell")


# ---- Terminals that show less ----


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["latin-1", "C"],
)
def test_what_a_terminal_does_not_have_is_escaped_and_nothing_stops(terminal, env):
    server = terminal("server", env=env)
    server.expect("listening on 127.0.0.1:")
    server.expect(">")
    with connect(server.text.decode("ascii")) as client:
        server.expect("client 1 joined")
        client.sendall("smile \U0001f600\n".encode())
        server.expect("1: smile \\U0001f600")
        client.sendall(b"plain\n")
        server.expect("1: plain")
    server.expect("client 1 left")
    server.type("end\r")
    assert server.wait() == 0


# ---- Terminals and pipes that another program has made non-blocking ----


def lines():
    return "".join(f"line {number}\n" for number in range(LINES)).encode()


def test_a_terminal_that_is_non_blocking_loses_no_line(terminal):
    server = terminal("server", blocking=False)
    server.expect("listening on 127.0.0.1:")
    server.expect(">")
    with connect(server.text.decode("ascii")) as client:
        client.sendall(lines())
        for number in range(LINES):
            server.expect(f"1: line {number}\r\n")
    server.type("end\r")
    assert server.wait() == 0


def test_a_pipe_that_is_non_blocking_and_full_loses_no_line(programs):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 14)
    with open(reader, encoding="ascii") as shown:
        try:
            server = programs.chat("server", stdout=writer)
        finally:
            os.close(writer)
        with connect(shown.readline()) as client:
            client.sendall(lines())
            wait_until(lambda: waiting(reader) > room // 4, "the pipe fills")
            told = list(iter(shown.readline, f"1: line {LINES - 1}\n"))
        assert [line for line in told if line.startswith("1: ")] == [
            f"1: line {number}\n" for number in range(LINES - 1)
        ]
        server.type("end\n")
        assert server.wait() == 0


def waiting(reader):
    """How many bytes a pipe holds."""
    return struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]
