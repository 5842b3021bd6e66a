"""FIFO input of the chat, and ``fastsock-chat input``, the separate input terminal."""

import os
import signal
import socket
import subprocess

import pytest
from conftest import read_exactly, read_to_end
from peers.process import CHAT, WAIT

from fastsock.fifo import RECORD_BYTES, record

pytest_plugins = ["peers.fixtures"]


@pytest.fixture
def fifo(tmp_path):
    return tmp_path / "fifo"


def shell(script, path):
    subprocess.run(["sh", "-c", script, "sh", str(path)], check=True, timeout=WAIT)


def connect(port):
    return socket.create_connection(("127.0.0.1", int(port)), timeout=WAIT)


# ---- A server and a client that read a FIFO ----


def test_a_server_reads_lines_and_records_from_writers_that_come_and_go(programs, fifo):
    server, port = programs.server("--fifo", str(fifo))
    server.expect(f"reading FIFO {fifo} (new)\n")
    with connect(port) as first, connect(port) as second:
        server.expect("client 2 joined")
        shell("echo from echo >$1", fifo)
        with open(fifo, "wb", buffering=0) as lecture_writer:
            lecture_writer.write((b"@2 a record\n\0" + b"stale\n" * 200)[:RECORD_BYTES])
            lecture_writer.write((b"short\n\0" + b"stale\n" * 200)[:RECORD_BYTES])
        shell("printf 'no newline' >$1", fifo)
        assert read_exactly(first, 27) == b"from echo\nshort\nno newline\n"
        shell("echo @9 nobody >$1", fifo)
        server.expect("fastsock-chat: there is no client 9; connected: 1, 2\n", "stderr")
        shell("echo end >$1", fifo)
        assert read_to_end(first) == b"end\n"
        assert read_to_end(second) == b"from echo\na record\nshort\nno newline\nend\n"
    assert server.wait() == 0
    assert not fifo.exists()


def test_a_server_without_stdin_is_driven_by_its_fifo(programs, fifo):
    server, port = programs.server("--fifo", str(fifo), stdin=subprocess.DEVNULL)
    with connect(port) as client:
        server.expect("client 1 joined")
        shell("echo hello >$1; echo end >$1", fifo)
        assert read_to_end(client) == b"hello\nend\n"
    assert server.wait() == 0


def test_a_client_reads_a_fifo(programs, fifo):
    server, port = programs.server()
    client = programs.chat("connect", "127.0.0.1", port, "--fifo", str(fifo), "--name", "Bob")
    server.expect("client 1 joined")
    client.type("typed\n")
    server.expect("1: Bob: typed\n")
    shell("echo echoed >$1", fifo)
    server.expect("1: Bob: echoed\n")
    shell("echo end >$1", fifo)
    assert client.wait() == 0
    server.expect("client 1 left (said end)\n")
    assert not fifo.exists()


def test_a_fifo_that_was_there_stays(programs, fifo):
    os.mkfifo(fifo)
    server, _ = programs.server("--fifo", str(fifo))
    server.expect(f"reading FIFO {fifo}\n")
    server.type("end\n")
    assert server.wait() == 0
    assert fifo.is_fifo()


def test_a_fifo_whose_place_is_taken_ends_its_input_alone(programs, fifo):
    server, port = programs.server("--fifo", str(fifo))
    server.expect("reading FIFO")
    with open(fifo, "wb"):
        fifo.unlink()
        fifo.write_text("no FIFO")
    told = f"fastsock-chat: no more input from the FIFO: {fifo} exists and is no FIFO"
    assert server.expect("no more input", "stderr") == told + " (named pipe)"
    server.type("end\n")
    assert server.wait() == 0
    assert fifo.read_text() == "no FIFO"


# ---- The input terminal ----


def test_input_writes_zeroed_records(programs, fifo):
    terminal = programs.chat("input", str(fifo))
    terminal.type("one\n\nthree\n")
    terminal.expect(f"waiting for a reader of {fifo}\n", "stderr")
    with open(fifo, "rb") as lecture_reader:
        assert lecture_reader.read(3 * RECORD_BYTES) == record(b"one") + record(b"") + record(
            b"three"
        )
    terminal.close_stdin()
    assert terminal.wait() == 0
    assert not fifo.exists(), "what it has made is removed"


def test_input_drives_a_server_and_survives_it(programs, fifo):
    terminal = programs.chat("input", str(fifo))
    terminal.type("early\n")
    terminal.expect("waiting for a reader", "stderr")
    for _ in range(2):
        server, port = programs.server("--fifo", str(fifo))
        with connect(port) as client:
            server.expect("client 1 joined")
            terminal.type("hello\nend\n")
            assert read_to_end(client).endswith(b"hello\nend\n")
        assert server.wait() == 0
    terminal.close_stdin()
    assert terminal.wait() == 0
    assert not fifo.exists()


def test_several_inputs_come_and_go(programs, fifo):
    server, port = programs.server("--fifo", str(fifo))
    with connect(port) as client:
        server.expect("client 1 joined")
        for number in range(3):
            terminal = programs.chat("input", str(fifo))
            terminal.type(f"terminal {number}\n")
            terminal.close_stdin()
            assert terminal.wait() == 0
            assert read_exactly(client, 11) == b"terminal %d\n" % number


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"x" * 1023, "a text of 1023 bytes does not fit a record, which holds 1022"),
        (b"a\0b", "the text of a record has no newline and no NUL inside, as b'a\\x00b' has"),
    ],
)
def test_input_refuses_a_line_that_no_record_holds_and_goes_on(programs, fifo, line, told):
    terminal = programs.chat("input", str(fifo))
    terminal.type(line + b"\nnext\n")
    terminal.close_stdin()
    assert terminal.expect("fastsock-chat:", "stderr") == f"fastsock-chat: {told}"
    terminal.expect("waiting for a reader", "stderr")
    with open(fifo, "rb") as reader:
        assert reader.read(RECORD_BYTES) == record(b"next")
    assert terminal.wait() == 1


@pytest.mark.parametrize(("signum", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_ends_an_input_that_waits_for_a_reader(programs, fifo, signum, status):
    terminal = programs.chat("input", str(fifo))
    terminal.type("text\n")
    terminal.expect("waiting for a reader", "stderr")
    terminal.interrupt(signal.Signals[signum])
    assert terminal.wait() == status
    assert not fifo.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 2, "Missing argument 'PATH'"),
        (["/dev/null"], 1, "/dev/null exists and is no FIFO"),
        (["/sys/fifo"], 1, "cannot make the FIFO /sys/fifo: "),
        (["/no/such/dir/fifo"], 1, "cannot make the FIFO /no/such/dir/fifo: No such file"),
    ],
)
def test_bad_paths_are_one_line(programs, arguments, status, told):
    terminal = programs.chat("input", *arguments)
    assert terminal.wait() == status
    assert terminal.err.startswith("fastsock-chat: ")
    assert told in terminal.err
    assert terminal.err.count("\n") == 1


# Root may open whatever it likes, unless it gives that up.
POWERS = "-dac_override,-dac_read_search"
AS_USER = ("setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}")


@pytest.mark.parametrize(
    "arguments", [("server", "--fifo"), ("connect", "127.0.0.1", "9", "--fifo"), ("input",)]
)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_text("a file"), "{} exists and is no FIFO (named pipe)"),
        (lambda path: path.mkdir(), "{} exists and is no FIFO (named pipe)"),
        (lambda path: os.mkfifo(path, 0), "cannot open the FIFO {}: Permission denied"),
    ],
    ids=["file", "directory", "forbidden"],
)
def test_a_path_that_is_no_fifo_of_ours(programs, fifo, arguments, make, told):
    make(fifo)
    before = fifo.stat()
    prefix = AS_USER if os.geteuid() == 0 else ()
    chat = programs.start(*prefix, *CHAT, *arguments, str(fifo))
    chat.type("text\n")
    assert chat.wait() == 1
    assert chat.err == f"fastsock-chat: {told.format(fifo)}\n"
    assert (fifo.stat().st_mode, fifo.stat().st_size) == (before.st_mode, before.st_size)
