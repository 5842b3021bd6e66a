"""Client, against servers of fastsock and plain listening sockets."""

import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from calls import Call, signal_until
from conftest import WAIT, read_exactly, read_to_end

from fastsock import Client, ConnectionClosed, MessageTooBig, MultiServer, ServerClosed


@pytest.fixture
def plain():
    """A client connected to a plain socket: (client, socket)."""
    opened = []

    def connect(**options):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = Client.connect(listener.getsockname(), timeout=WAIT, **options)
            peer, _ = listener.accept()
        peer.settimeout(WAIT)
        opened.extend((client, peer))
        return client, peer

    yield connect
    for thing in reversed(opened):
        thing.close()


def test_line_framing_both_ways(plain):
    client, peer = plain()
    client.send(b"hello")
    client.send(bytearray(b"with newline\n"))
    client.send(b"")
    assert read_exactly(peer, 20) == b"hello\nwith newline\n\n"
    peer.sendall(b"one\ntwo\r\n\nthree\nfo")
    assert client.recv(timeout=WAIT) == b"one"
    assert client.recv_many(10, timeout=WAIT) == [b"two", b"", b"three"]
    peer.sendall(b"ur\n")
    assert client.recv(timeout=WAIT) == b"four"


def test_length_framing_both_ways(plain):
    client, peer = plain(framing="length")
    client.send_many([b"hello", b"", memoryview(b"a\nb")])
    assert read_exactly(peer, 20) == b"\0\0\0\5hello\0\0\0\0\0\0\0\3a\nb"
    for byte in b"\0\0\0\2hi\0\0\0\0":
        peer.sendall(bytes([byte]))
    assert client.recv(timeout=WAIT) == b"hi"
    assert client.recv(timeout=WAIT) == b""


def test_iteration_ends_with_the_stream(plain):
    client, peer = plain()
    peer.sendall(b"one\ntwo\n")
    peer.shutdown(socket.SHUT_WR)
    assert list(client) == [b"one", b"two"]
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert (caught.value.reason, caught.value.by) == ("closed by peer", "peer")


def test_a_reset_is_told_from_an_end(plain):
    client, peer = plain()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(ConnectionClosed, match="reset by peer"):
        next(client)


def test_recv_times_out_and_loses_nothing(plain):
    client, peer = plain()
    peer.sendall(b"be")
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError, match="no message after"):
            client.recv(timeout=timeout)
    peer.sendall(b"gun\n")
    assert client.recv(timeout=WAIT) == b"begun"


def test_a_message_of_every_size_arrives(serve):
    server = serve(framing="length", message_bytes_max=1 << 20, log_bytes=1 << 23,
                   outbox_bytes_max=1 << 22)  # fmt: skip
    sizes = [0, 1, 4095, 4096, 65535, 65536, 65537, 1 << 20]

    @server.on_message
    def echo(conn, data):
        conn.send(data)

    server.start()
    with Client.connect(server.address, framing="length", message_bytes_max=1 << 20) as client:
        for size in sizes:
            data = bytes(i * 31 & 255 for i in range(1000)) * (size // 1000 + 1)
            client.send(data[:size])
            assert client.recv(timeout=WAIT) == data[:size]


def test_send_times_out_and_goes_on_where_it_was(plain):
    client, peer = plain(message_bytes_max=1 << 24, outbox_bytes_max=1 << 16)
    big = bytes(range(48, 58)) * (1 << 20)
    with pytest.raises(TimeoutError, match="go out before the next message"):
        client.send(big, timeout=0.05)
    with pytest.raises(TimeoutError, match="message refused"):
        client.send(b"refused", timeout=0)
    received = []
    reader = threading.Thread(target=lambda: received.append(read_to_end(peer)))
    reader.start()
    client.send(b"after", timeout=WAIT)
    client.close()
    reader.join(WAIT)
    assert received == [big + b"\nafter\n"]


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ("text", TypeError, "bytes-like, not str: encode it"),
        (7, TypeError, "bytes-like, not int"),
        (b"a\nb", ValueError, "newline inside"),
        (b"a\r", ValueError, "of 2 bytes ends in a carriage return, .* strip it, or use framing="),
        (b"x" * 65537, MessageTooBig, "of 65537 bytes is longer than message_bytes_max"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_nothing_goes_out(plain, serve, data, error, text):
    client, peer = plain()
    server = serve()
    calls = (
        client.send,
        lambda data: client.send_many([b"good", data]),
        server.broadcast,
        lambda data: server.broadcast_many([b"good", data]),
    )
    for call in calls:
        with pytest.raises(error, match=text):
            call(data)
    client.close()
    assert read_to_end(peer) == b""
    assert server.stats().messages_published == 0


def test_a_longest_message_is_not_too_big(plain):
    client, peer = plain()
    client.send(b"x" * 65536)
    assert read_exactly(peer, 65537) == b"x" * 65536 + b"\n"
    peer.sendall(b"y" * 65536 + b"\r\n" + b"z" * 65537 + b"\n")
    assert client.recv(timeout=WAIT) == b"y" * 65536
    with pytest.raises(MessageTooBig, match="65536"):
        client.recv(timeout=WAIT)


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff", b"\0\1\0\1"])
def test_an_announced_length_above_the_limit_is_an_error(plain, prefix):
    client, peer = plain(framing="length")
    peer.sendall(prefix + b"x")
    with pytest.raises(MessageTooBig):
        client.recv(timeout=WAIT)


def test_close_ends_a_call_that_waits_in_another_thread(plain):
    client, _ = plain(linger=0.1)
    outcome = []

    def wait():
        try:
            client.recv()
        except ConnectionClosed as error:
            outcome.append((str(error), error.by))

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    thread.join(WAIT)
    assert outcome == [("the connection is closed", "local")]
    client.close()
    assert client.fileno() == -1
    for call in (client.recv, lambda: client.send(b"late")):
        with pytest.raises(ConnectionClosed, match="the connection is closed"):
            call()


def test_one_thread_sends_while_another_receives(serve):
    server = serve(log_bytes=1 << 19)
    server.on_message(lambda conn, data: conn.send(data))
    server.start()
    texts = [b"%d" % i for i in range(20_000)]
    with Client.connect(server.address) as client:
        sender = threading.Thread(target=client.send_many, args=(texts,))
        sender.start()
        got = []
        while len(got) < len(texts):
            got += client.recv_many(1000, timeout=WAIT)
        sender.join(WAIT)
    assert got == texts


def test_addresses_of_both_sides(serve):
    server = serve()
    with Client.connect(("localhost", server.address[1])) as client:
        assert client.peer == server.address
        assert client.address[0] == "127.0.0.1"
        assert client.fileno() >= 0


@pytest.mark.parametrize(
    ("address", "error", "text"),
    [
        ("localhost:9000", ValueError, r"must be a tuple: \('localhost', 9000\)"),
        ("[::1]:9000", ValueError, r"must be a tuple: \('::1', 9000\)"),
        ("name", ValueError, "a path with a '/': './name'"),
        (("127.0.0.1", 65536), ValueError, "port must be from 0 to 65535, not 65536"),
        (("127.0.0.1", -1), ValueError, "port must be from 0 to 65535, not -1"),
        (("127.0.0.1", "80"), TypeError, "port must be an int"),
        ((b"127.0.0.1", 80), TypeError, "host must be a str"),
        (("", 80), ValueError, "host must not be empty"),
        (("a\0b", 80), ValueError, "NUL"),
        (9000, TypeError, r"must be \(host, port\), a path or '@name', not 9000"),
        (("127.0.0.1",), TypeError, r"must be \(host, port\), a path"),
        ("/" + "x" * 108, ValueError, "at most 107 bytes, not 109"),
        (("no-such-host.invalid", 80), OSError, "unknown host 'no-such-host.invalid'"),
        (("x" * 64 + ".invalid", 80), (ValueError, OSError), "host"),
    ],
)
def test_wrong_addresses_are_explained(address, error, text):
    for call in (MultiServer, Client.connect):
        with pytest.raises(error, match=text):
            call(address)


def test_nobody_listens(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
        told = f"cannot connect to 127.0.0.1:{address[1]}: Connection refused"
        with pytest.raises(ConnectionRefusedError) as caught:
            Client.connect(address, timeout=WAIT)
        assert caught.value.strerror == told
    with pytest.raises(FileNotFoundError, match="cannot connect to .*socket: No such file"):
        Client.connect(tmp_path / "socket")


def test_nobody_answers():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        with (
            socket.create_connection((host, port)),
            pytest.raises(TimeoutError, match=f"cannot connect to {host}:{port}: not connected"),
        ):
            Client.connect((host, port), timeout=0.05)


def test_a_path_needs_no_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MultiServer(Path("socket")) as server:
        assert server.address == str(tmp_path / "socket")
        Client.connect(Path("socket")).close()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"framing": "lines"}, ValueError, "framing must be one of 'line', .*'raw', not 'lines'"),
        ({"message_bytes_max": 0}, ValueError, "message_bytes_max must be from 1 to .*, not 0"),
        ({"outbox_bytes_max": "1"}, TypeError, "outbox_bytes_max must be an int, not '1'"),
        ({"linger": -1}, ValueError, "linger must be from 0 to 1e9 seconds, not -1"),
        ({"retry": float("nan")}, ValueError, "retry must be from 0 to 1e9 seconds, not nan"),
        ({"retry": float("inf")}, ValueError, "retry must be from 0 to 1e9 seconds, not inf"),
        ({"busy_poll_us": 10**7}, ValueError, "busy_poll_us must be from 0 to 1000000"),
    ],
)
def test_options_are_checked(options, error, text):
    with pytest.raises(error, match=text):
        Client.connect(("127.0.0.1", 9), **options)


def test_the_server_closed_error_is_no_connection_error():
    assert not issubclass(ServerClosed, ConnectionError)


# ---- recv_into ----


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("framing", ["line", "length", "raw"])
def test_recv_into_fills_the_callers_buffer(plain, framing, buffered):
    client, peer = plain(framing=framing)
    frame = {"line": b"%s\n", "length": b"\0\0\0\5%s", "raw": b"%s"}[framing]
    if buffered:
        peer.sendall(frame % b"first")
        assert client.recv(timeout=WAIT) == b"first"
    peer.sendall(frame % b"hello")
    buffer = bytearray(b"-" * 8)
    assert client.recv_into(buffer, timeout=WAIT) == 5
    assert buffer == b"hello---"
    with pytest.raises(TimeoutError):
        client.recv_into(buffer, timeout=0)


def test_recv_into_takes_one_message_of_several_and_of_any_size(plain):
    client, peer = plain(framing="length", message_bytes_max=1 << 24)
    texts = [b"", b"a", bytes(1 << 22), b"bc", b"x" * 70_000, b""]
    stream = b"".join(struct.pack("!I", len(text)) + text for text in texts)
    writer = threading.Thread(target=peer.sendall, args=(stream,))
    writer.start()
    buffer = bytearray(1 << 22)
    for text in texts:
        size = client.recv_into(buffer, timeout=WAIT)
        assert buffer[:size] == text
    writer.join(WAIT)


def test_recv_into_loses_nothing_on_a_timeout_or_a_small_buffer(plain):
    client, peer = plain(framing="length")
    for part in (b"\0\0", b"\0\6", b"abc"):
        peer.sendall(part)
        with pytest.raises(TimeoutError):
            client.recv_into(bytearray(10), timeout=0.02)
    peer.sendall(b"def\0\0\0\1z")
    with pytest.raises(ValueError, match="6 bytes does not fit into a buffer of 5"):
        client.recv_into(bytearray(5), timeout=WAIT)
    assert client.recv(timeout=WAIT) == b"abcdef"
    assert client.recv(timeout=WAIT) == b"z"
    peer.sendall(b"\0\0\0\6ghijkl")
    with pytest.raises(ValueError, match="does not fit"):
        client.recv_into(bytearray(2), timeout=WAIT)
    assert client.recv(timeout=WAIT) == b"ghijkl"


def test_recv_into_refuses_what_it_cannot_fill(plain):
    client, peer = plain(framing="length", message_bytes_max=8)
    with pytest.raises(BufferError):
        client.recv_into(b"read-only")
    with pytest.raises(TypeError):
        client.recv_into("text")
    peer.sendall(b"\0\0\0\11")
    with pytest.raises(MessageTooBig):
        client.recv_into(bytearray(100), timeout=WAIT)


def test_recv_into_holds_its_buffer_while_it_waits(plain):
    client, peer = plain(framing="length")
    buffer = bytearray(4)
    waiting = Call(lambda: client.recv_into(buffer))
    waiting.wait_asleep()
    with pytest.raises(BufferError):
        buffer.clear()
    peer.sendall(b"\0\0\0\4data")
    assert waiting.wait_result() == 4
    assert buffer == b"data"
    buffer.clear()


# ---- Timeouts and signals ----


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_timeouts_that_are_none(plain, timeout):
    client, _ = plain()
    for call in (
        lambda: client.recv(timeout=timeout),
        lambda: client.recv_many(2, timeout=timeout),
        lambda: client.recv_into(bytearray(1), timeout=timeout),
        lambda: client.send(b"x", timeout=timeout),
        lambda: Client.connect(client.peer, timeout=timeout),
    ):
        with pytest.raises(ValueError, match="timeout must be None or at least 0 seconds, not"):
            call()


@pytest.mark.parametrize("timeout", [1e300, float("inf"), 2**70])
def test_a_huge_timeout_waits(plain, timeout):
    client, peer = plain()
    waiting = Call(lambda: client.recv(timeout=timeout))
    waiting.wait_asleep()
    peer.sendall(b"at last\n")
    assert waiting.wait_result() == b"at last"


class Stop(Exception):
    pass


def test_a_signal_handler_that_raises_ends_the_wait_and_nothing_is_lost(plain):
    client, peer = plain()
    peer.sendall(b"half a ")
    raised = threading.Event()

    def handler(*_):
        if not raised.is_set():
            raised.set()
            raise Stop

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signals = signal_until(raised, signal.SIGUSR1)
        with pytest.raises(Stop):
            client.recv(timeout=WAIT)
        signals.wait_result()
    finally:
        signal.signal(signal.SIGUSR1, before)
    peer.sendall(b"message\n")
    assert client.recv(timeout=WAIT) == b"half a message"


# ---- Coming back ----


def test_reconnect_waits_until_the_server_is_back(serve):
    server = serve()
    address = server.address
    client = Client.connect(address, timeout=WAIT)
    server.close()
    back = []

    def come_back():
        back.append(MultiServer(address, linger=0.2).start())

    timer = threading.Timer(0.1, come_back)
    timer.start()
    with client.reconnect(retry=WAIT) as again:
        assert client.fileno() == -1 and again.peer == address
        timer.join()
        back[0].wait_connections(1, timeout=WAIT)
        back[0].broadcast(b"welcome back")
        assert again.recv(timeout=WAIT) == b"welcome back"
    back[0].close()


def test_reconnecting_gives_up_in_time(serve):
    server = serve()
    client = Client.connect(server.address)
    server.close()
    with pytest.raises(ConnectionRefusedError, match="cannot connect to 127.0.0.1"):
        client.reconnect(retry=0.1)


def test_a_client_never_connects_to_itself():
    """In a network of its own, each connection gets the port that it asks for, soon."""
    program = """
from fastsock import Client, MultiServer, rpc
class Service(rpc.Service):
    @rpc.method
    def one(self) -> int: return 1
for _ in range(40):
    for connect in (Client.connect, lambda address: rpc.connect(Service, address, timeout=2)):
        try:
            connect(("127.0.0.1", 40004))
        except OSError as error:
            if "refused" not in str(error): raise
        else:
            raise SystemExit("connected to itself")
MultiServer(("127.0.0.1", 40004)).close()
"""
    ports = "ip link set lo up; echo 40000 40005 > /proc/sys/net/ipv4/ip_local_port_range"
    alone = ["unshare", "--net", "--map-root-user", "bash", "-ec", f'{ports}; exec "$@"', "bash"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network of one's own can be made here")
    done = subprocess.run(
        [*alone, sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


# ---- One call beside another ----


def test_a_timeout_holds_beside_a_call_of_another_thread(plain):
    client, peer = plain(message_bytes_max=1 << 24, linger=0.1)
    waiting = Call(lambda: client.recv(timeout=WAIT))
    waiting.wait_asleep()
    for timeout in (0, 0.05):
        for call in (client.recv, lambda timeout: client.recv_into(bytearray(9), timeout=timeout)):
            with pytest.raises(TimeoutError, match="another thread receives still after"):
                call(timeout=timeout)
    sending = Call(lambda: client.send(b"x" * (1 << 23), timeout=WAIT))
    sending.wait_asleep()
    for timeout in (0, 0.05):
        for call in (client.send, lambda data, timeout: client.send_many([data], timeout=timeout)):
            with pytest.raises(TimeoutError, match="refused: another thread sends still after"):
                call(b"y", timeout=timeout)
    peer.sendall(b"word\n")
    assert waiting.wait_result() == b"word"
    assert read_exactly(peer, (1 << 23) + 1) == b"x" * (1 << 23) + b"\n"
    sending.wait_result()


def test_a_signal_handler_that_receives_inside_recv_is_told_so(plain):
    client, peer = plain()
    told = threading.Event()
    errors = []

    def handler(*_):
        if not told.is_set():
            try:
                client.recv(timeout=WAIT)
            except RuntimeError as error:
                errors.append(str(error))
            told.set()
            peer.sendall(b"done\n")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        signals = signal_until(told, signal.SIGUSR1)
        assert client.recv(timeout=WAIT) == b"done"
        signals.wait_result()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(errors) == 1 and "in the same call already" in errors[0]


def test_an_iterable_that_fails_beside_close_sends_nothing_of_its_own(plain):
    client, peer = plain(framing="raw", message_bytes_max=1 << 24, linger=WAIT,
                         outbox_bytes_max=1 << 25)  # fmt: skip
    with pytest.raises(TimeoutError):
        client.send(b"A" * (1 << 23), timeout=0.05)
    closing = []

    def messages():
        yield b"B"
        closing.append(Call(client.close))
        closing[0].wait_asleep()
        head.append(read_exactly(peer, 1 << 22))
        raise ValueError("the iterable fails")

    head: list[bytes] = []
    with pytest.raises(ValueError, match="iterable fails"):
        client.send_many(messages())
    assert head[0] + read_to_end(peer) == b"A" * (1 << 23)
    peer.close()
    closing[0].wait_result()


def test_an_iterable_may_send_itself(plain):
    client, peer = plain()

    def messages():
        client.send(b"first")
        yield b"second"

    client.send_many(messages())
    assert read_exactly(peer, 13) == b"first\nsecond\n"
