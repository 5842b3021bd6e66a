"""``fastsock-chat server`` in plain form, with netcat and plain sockets as clients."""

import re
import signal
import socket
import struct
from contextlib import suppress

import pytest
from conftest import read_exactly, read_to_end, wait_until
from peers.process import CHAT, WAIT

from fastsock.net import free_port

pytest_plugins = ["peers.fixtures"]


def connect(port):
    return socket.create_connection(("127.0.0.1", int(port)), timeout=WAIT)


def join(programs, server, port, number):
    """A netcat client that the server has seen."""
    client = programs.nc(port)
    server.expect(f"client {number} joined from 127.0.0.1:")
    return client


# ---- Talking ----


def test_two_netcats_chat(programs):
    server, port = programs.server()
    assert server.out == f"listening on 127.0.0.1:{port}\n"
    first = join(programs, server, port, 1)
    second = join(programs, server, port, 2)
    first.type("hello\n")
    second.expect("1: hello\n")
    second.type("hello yourself\n")
    first.expect("2: hello yourself\n")
    server.expect("1: hello\n2: hello yourself\n")
    server.type("welcome, both\n")
    first.expect("welcome, both\n")
    second.expect("welcome, both\n")
    second.interrupt(signal.SIGTERM)
    server.expect("client 2 left (closed by peer)\n")
    server.type("end\n")
    assert server.wait() == 0
    first.expect("end\n")
    assert first.out == "2: hello yourself\nwelcome, both\nend\n"
    assert second.out == "1: hello\nwelcome, both\n"
    assert server.err == ""


def test_text_to_one_client_goes_to_it_alone_without_its_prefix(programs):
    server, port = programs.server()
    first = join(programs, server, port, 1)
    second = join(programs, server, port, 2)
    server.type("@2 for you\n@2   two  words \nfor all\n@you are all\n@2x too\n")
    second.expect("for you\ntwo  words \nfor all\n@you are all\n@2x too\n")
    first.expect("for all\n@you are all\n@2x too\n")
    assert first.out == "for all\n@you are all\n@2x too\n"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("@7 hi", "there is no client 7; connected: 1"),
        ("@0 hi", "there is no client 0; connected: 1"),
        ("@1", "nothing to say to client 1: @1 text"),
        ("/kick 7", "there is no client 7; connected: 1"),
        ("/kick", "/kick takes the number of a client, not ''"),
        ("/kick me", "/kick takes the number of a client, not 'me'"),
        ("x" * 70_000, "a line of more than 65536 bytes is not sent"),
    ],
)
def test_a_wrong_line_is_told_to_the_typist_and_the_server_goes_on(programs, typed, told):
    server, port = programs.server()
    client = join(programs, server, port, 1)
    server.type(f"{typed}\nnext\n")
    assert server.expect("fastsock-chat: ", "stderr") == f"fastsock-chat: {told}"
    client.expect("next\n")
    assert client.out == "next\n"


def test_the_longest_line_arrives_whole_with_a_number_in_front(programs):
    server, port = programs.server()
    with connect(port) as speaker, connect(port) as hearer:
        server.expect("client 2 joined")
        speaker.sendall(b"x" * 65536 + b"\n")
        server.expect("1: " + "x" * 65536 + "\n")
        assert read_exactly(hearer, 65540) == b"1: " + b"x" * 65536 + b"\n"
        speaker.sendall(b"x" * 65537 + b"\n")
        assert read_to_end(speaker) == b""
    server.expect("client 1 left (said 65537 bytes at once, 65536 may be)\n")


@pytest.mark.parametrize(
    ("options", "to_speaker", "to_other"),
    [
        ([], b"", b"1: hello\n1: endless\n"),
        (["--relay", "all"], b"1: hello\n1: endless\n", b"1: hello\n1: endless\n"),
        (["--relay", "none"], b"", b""),
        (["--verbatim"], b"", b"hello\n endless\n"),
        (["--verbatim", "--relay", "all"], b"hello\n endless\n", b"hello\n endless\n"),
    ],
)
def test_relay(programs, options, to_speaker, to_other):
    server, port = programs.server(*options)
    with connect(port) as speaker, connect(port) as other:
        server.expect("client 2 joined")
        speaker.sendall(b"hello\nendless\n")
        server.expect("1: hello\n1: endless\n")
        server.type("that is all\n")
        assert read_exactly(speaker, len(to_speaker) + 12) == to_speaker + b"that is all\n"
        assert read_exactly(other, len(to_other) + 12) == to_other + b"that is all\n"


def test_what_peers_send_does_not_reach_the_terminal_raw(programs):
    server, port = programs.server()
    with connect(port) as client:
        client.sendall(b"\x1b[31mred\x07\x9b\r.\xff \xc2\x9b \xe2\x80\xae tab\tgr\xc3\xbcn \0\n")
        line = server.expect("1: ")
    assert line == "1: \\x1b[31mred\\x07\ufffd\\r.\ufffd \\x9b \\u202e tab\tgrün \\x00"


# ---- Ending ----


def test_end_from_a_client_closes_it_and_is_not_relayed(programs):
    server, port = programs.server("--relay", "all")
    with connect(port) as speaker, connect(port) as other:
        server.expect("client 2 joined")
        speaker.sendall(b"bye\r\nend\r\nnot heard\n")
        assert read_to_end(speaker) == b"1: bye\n"
        server.expect("client 1 left (said end)\n")
        server.type("end\n")
        assert read_to_end(other) == b"1: bye\nend\n"
    assert server.wait() == 0


def test_end_to_one_client_closes_it_alone(programs):
    server, port = programs.server()
    with connect(port) as first, connect(port) as second:
        server.expect("client 2 joined")
        server.type("hello\n@1 end\n")
        assert read_to_end(first) == b"hello\nend\n"
        server.expect("client 1 left (told to end)\n")
        server.type("end\n")
        assert read_to_end(second) == b"hello\nend\n"


def test_end_flushes_all_that_was_typed_and_goes_out_alone(programs):
    lines = [f"{number:06} " + "x" * 200 for number in range(20_000)]
    server, port = programs.server()
    with connect(port) as client:
        server.expect("client 1 joined")
        server.type("\n".join(lines) + "\n@1 endless\nend\nignored\n")
        received = read_to_end(client)
    assert received.decode().splitlines() == [*lines, " endless", "end"]
    assert server.wait() == 0


def test_a_client_that_reads_nothing_does_not_keep_the_server_from_ending(programs):
    server, port = programs.server()
    with connect(port):
        server.expect("client 1 joined")
        server.type("x" * 60_000 + "\n")
        server.type(("y" * 60_000 + "\n") * 100)
        server.type("end\n")
        assert server.wait() == 0


def test_end_of_stdin_does_not_end_the_server(programs):
    server, port = programs.server()
    server.type("last words")
    server.close_stdin()
    client = join(programs, server, port, 1)
    other = join(programs, server, port, 2)
    client.type("still there?\n")
    other.expect("1: still there?\n")
    server.interrupt(signal.SIGTERM)
    assert server.wait() == 143


def test_a_stdin_that_cannot_be_read(programs, tmp_path):
    with (tmp_path / "file").open("wb") as write_only:
        server, port = programs.server(stdin=write_only)
    server.expect("cannot read stdin: Bad file descriptor; the conversation goes on without it")
    client = join(programs, server, port, 1)
    client.type("anybody?\n")
    server.expect("1: anybody?")
    server.interrupt(signal.SIGTERM)
    assert server.wait() == 143


def test_a_last_line_without_a_newline_is_heard(programs):
    server, port = programs.server()
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        client.sendall(b"hello")
    server.expect("1: hello")


def test_the_interrupt_of_telnet_is_answered_and_not_shown(programs):
    server, port = programs.server()
    other = join(programs, server, port, 1)
    with socket.create_connection(("127.0.0.1", int(port))) as telnet:
        telnet.sendall(b"\xff\xf4\xff\xfd\x06after\r\n")
        assert read_exactly(telnet, 4) == b"\xff\xfb\x06\n"
        other.expect("2: after\n")
        server.expect("2: after\n")


def test_relayed_text_does_not_control_terminals(programs):
    server, port = programs.server()
    other = join(programs, server, port, 1)
    with socket.create_connection(("127.0.0.1", int(port))) as client:
        client.sendall(b"\x1b[2J \xffx gr\xc3\xbcn\n")
        other.expect("2: \\x1b[2J \\xffx grün\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_standard_descriptor_is_not_taken_for_a_socket(programs, closed):
    port = str(free_port("127.0.0.1"))
    script = f'exec "$@" {closed}'
    programs.start("sh", "-c", script, "sh", *CHAT, "server", "--port", port)
    clients = []

    def listens():
        with suppress(ConnectionRefusedError):
            clients.append(connect(port))
        return clients

    wait_until(listens, "the server listens")
    with clients[0] as speaker, connect(port) as hearer:
        speaker.sendall(b"hello\n")
        assert read_exactly(hearer, 9) == b"1: hello\n"
        speaker.sendall(b"end\n")
        assert read_to_end(speaker) == b""


@pytest.mark.parametrize(("signum", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_signals_drain_and_end_with_the_usual_status(programs, tmp_path, signum, status):
    fifo = tmp_path / "fifo"
    server, port = programs.server("--fifo", str(fifo))
    assert fifo.is_fifo()
    with connect(port) as client:
        server.expect("client 1 joined")
        server.type("x" * 50_000 + "\n")
        assert read_exactly(client, 1) == b"x"
        server.interrupt(signal.Signals[signum])
        assert read_to_end(client) == b"x" * 49_999 + b"\n"
    assert server.wait() == status
    assert server.err == ""
    assert not fifo.exists()


def test_sigterm_in_a_burst(programs):
    server, port = programs.server("--relay", "all")
    with connect(port) as client:
        server.expect("client 1 joined")
        client.settimeout(0.2)
        try:
            while True:
                client.sendall(b"burst\n" * 1000)
        except TimeoutError:
            server.interrupt(signal.SIGTERM)
    assert server.wait() == 143
    assert server.err == ""


def test_stdout_closed_under_the_chat(programs):
    server, port = programs.server()
    server.close_stdout()
    with connect(port) as client:
        assert read_to_end(client) == b""
    assert server.wait() == 1
    assert server.err == "fastsock-chat: cannot write to stdout: Broken pipe\n"


# ---- Clients that behave badly ----


def test_a_client_that_resets_is_shown_to_leave(programs):
    server, port = programs.server()
    client = connect(port)
    server.expect("client 1 joined")
    client.sendall(b"half a li")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    server.expect("client 1 left (reset by peer)\n")
    with connect(port):
        server.expect("client 2 joined")


def test_a_line_that_never_ends_closes_its_client_alone(programs):
    server, port = programs.server()
    with connect(port) as endless, connect(port) as other:
        server.expect("client 2 joined")
        endless.sendall(b"x" * 70_000)
        server.expect("client 1 left (message too big)\n")
        server.type("go on\n")
        assert read_exactly(other, 6) == b"go on\n"


# ---- Commands ----


def test_commands(programs):
    server, port = programs.server()
    client = join(programs, server, port, 1)
    client.type("hello\n")
    server.expect("1: hello\n")
    server.type("/who\n")
    who = server.expect("client 1 from 127.0.0.1:")
    assert re.fullmatch(
        r"client 1 from 127\.0\.0\.1:\d+ for \d+ s, said 1, last active \d+ s ago", who
    )
    server.type("/stats\n")
    assert server.expect("clients 1, ").startswith("clients 1, accepted 1, messages received 1,")
    server.type("/help\n")
    for line in ("/who: ", "/kick N: ", "/stats: ", "/help: "):
        server.expect(line)
    server.type("/kick 1\n")
    server.expect("client 1 left (kicked)\n")
    assert client.out == ""
    server.type("/who\n")
    server.expect("nobody is connected\n")
    server.type("/stats\n")
    server.expect("ended: 1 closed by this program\n")


def test_other_text_with_a_slash_goes_to_all(programs):
    server, port = programs.server()
    client = join(programs, server, port, 1)
    server.type("/etc/hosts\n/unknown\n/ who\n")
    client.expect("/etc/hosts\n/unknown\n/ who\n")


# ---- The command line ----


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--port", "99999"], 2, "99999 is not in the range 0<=x<=65535"),
        (["--port", "http"], 2, "'http' is not a valid integer range"),
        (["--host", "no-such-host.invalid"], 1, "unknown host 'no-such-host.invalid'"),
        (["--host", "localhost:9000"], 1, "unknown host 'localhost:9000'"),
        (["--host", ""], 2, "host must not be empty"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1:0: Cannot assign requested"),
        (["--relay", "some"], 2, "'some' is not one of 'others', 'all', 'none'"),
        (["--relay", "none", "--verbatim"], 2, "leave one out"),
        (["--fifo", "/dev/null"], 1, "/dev/null exists and is no FIFO"),
        (["--fifo", "/no/such/dir/fifo"], 1, "cannot make the FIFO /no/such/dir/fifo: No such"),
        (["--verbose"], 2, "No such option"),
    ],
)
def test_bad_arguments_are_one_line(programs, arguments, status, told):
    server = programs.chat("server", *arguments)
    assert server.wait() == status
    assert server.out == ""
    assert server.err.startswith("fastsock-chat: ")
    assert told in server.err
    assert server.err.count("\n") == 1


def test_a_port_that_is_taken(programs):
    _, port = programs.server()
    second = programs.chat("server", "--port", port)
    assert second.wait() == 1
    assert second.err == (
        f"fastsock-chat: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_a_server_can_be_started_again_on_its_port_at_once(programs):
    server, port = programs.server()
    with connect(port):
        server.expect("client 1 joined")
        server.interrupt(signal.SIGTERM)
        assert server.wait() == 143
    again = programs.chat("server", "--port", port)
    again.expect(f"listening on 127.0.0.1:{port}\n")


def test_host_auto_is_no_loopback_address(programs):
    server = programs.chat("server", "--host", "auto")
    host = server.expect("listening on ").removeprefix("listening on ").rpartition(":")[0]
    assert not host.startswith("127.")
    socket.inet_pton(socket.AF_INET, host)


def test_ipv6(programs):
    server = programs.chat("server", "--host", "::1")
    port = server.expect("listening on [::1]:").rpartition(":")[2]
    with socket.create_connection(("::1", int(port)), timeout=WAIT):
        server.expect("client 1 joined from [::1]:")


def test_no_command_and_an_unknown_one(programs):
    for arguments, told in (([], "Missing command"), (["sever"], "No such command 'sever'")):
        chat = programs.chat(*arguments)
        assert chat.wait() == 2
        assert told in chat.err
        assert chat.err.count("\n") == 1


def test_fastsock_alone_imports_nothing_of_the_chat(programs):
    script = "import fastsock, sys; print({'click', 'rich', 'prompt_toolkit'} & set(sys.modules))"
    chat = programs.python("-c", script)
    assert chat.wait() == 0
    assert chat.out == "set()\n"
