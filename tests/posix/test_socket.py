"""fastsock.Socket: what socket.socket promises, and the batch calls."""

import asyncio
import gc
import http.client
import http.server
import selectors
import signal
import socket
import ssl
import subprocess
import threading
from array import array

import numpy as np
import pytest
from calls import Call, signal_until
from conftest import read_exactly

from fastsock import posix
from fastsock.posix.sockets import Socket, create_connection, create_server, socketpair

HOST = "127.0.0.1"


@pytest.fixture
def pair():
    first, second = socketpair()
    with first, second:
        yield first, second


@pytest.fixture
def tcp():
    with create_server((HOST, 0)) as listener:
        first = create_connection(listener.getsockname())
        second, _ = listener.accept()
    with first, second:
        yield first, second


@pytest.fixture
def udp():
    first, second = (Socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with first, second:
        second.bind((HOST, 0))
        first.connect(second.getsockname())
        yield first, second


# ---- Making ----


def test_a_socket_is_a_socket():
    with Socket() as sock:
        assert isinstance(sock, socket.socket)
        assert repr(sock).startswith("<fastsock.posix.sockets.Socket fd=")
        assert sock.family == socket.AF_INET
        assert sock.type == socket.SOCK_STREAM
        with pytest.raises(AttributeError):
            sock.anything = 1


def test_accept_and_the_functions_make_sockets(tcp, pair):
    assert {type(sock) for sock in (*tcp, *pair)} == {Socket}
    assert tcp[0].getpeername() == tcp[1].getsockname()
    with pair[0].dup() as copy:
        assert type(copy) is Socket


def test_create_connection_takes_the_standard_arguments():
    with create_server((HOST, 0), backlog=1, reuse_port=True) as listener:
        address = listener.getsockname()
        with create_connection(address, 3, (HOST, 0)) as sock:
            assert sock.gettimeout() == 3
            listener.accept()[0].close()
    with pytest.raises(ConnectionRefusedError):
        create_connection(address)
    with pytest.raises(ExceptionGroup):
        create_connection(address, all_errors=True)


def test_create_server_takes_the_standard_arguments():
    with create_server(("::1", 0), family=socket.AF_INET6, dualstack_ipv6=False) as listener:
        assert listener.family == socket.AF_INET6
        assert listener.getsockname()[0] == "::1"


def test_default_timeout():
    socket.setdefaulttimeout(2.5)
    try:
        with (
            create_server((HOST, 0)) as listener,
            create_connection(listener.getsockname()) as client,
            listener.accept()[0] as server,
        ):
            assert client.gettimeout() == server.gettimeout() == 2.5
    finally:
        socket.setdefaulttimeout(None)


def test_accept_of_a_listener_with_a_timeout_makes_a_blocking_socket():
    with create_server((HOST, 0)) as listener:
        listener.settimeout(5)
        with create_connection(listener.getsockname()), listener.accept()[0] as server:
            assert server.gettimeout() is None
        listener.settimeout(0.01)
        with pytest.raises(TimeoutError, match="timed out"):
            listener.accept()


def test_a_socket_that_nobody_closes_warns():
    sock = Socket()
    number = sock.fileno()
    with pytest.warns(
        ResourceWarning, match=f"unclosed <fastsock.posix.sockets.Socket fd={number}"
    ):
        del sock
        gc.collect()


def test_detach_gives_the_descriptor_away(pair):
    first, second = pair
    number = first.detach()
    assert first.fileno() == -1
    with Socket(fileno=number) as sock:
        sock.sendall(b"x")
        assert second.recv(1) == b"x"


# ---- The hot calls ----


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0], ids=["blocking", "timeout", "nonblocking"])
def test_hot_calls_move_what_is_there(tcp, timeout):
    first, second = tcp
    first.settimeout(timeout)
    second.settimeout(timeout)
    assert first.send(b"one") == 3
    assert first.send(np.arange(2, dtype=np.int16), socket.MSG_NOSIGNAL) == 4
    assert first.sendall(memoryview(b"two")) is None
    posix.poll([(second.fileno(), posix.POLLIN)])
    into = bytearray(5)
    assert second.recv_into(into) == 5
    assert into == b"one\0\0"
    assert second.recv_into(into, 1, socket.MSG_PEEK) == 1
    assert second.recv_into(into, nbytes=2) == 2
    assert into == b"\1\0e\0\0"
    assert second.recv(2, socket.MSG_PEEK) == b"tw"
    assert second.recv(0) == b""
    assert second.recv(100) == b"two"


def test_nothing_there_on_a_nonblocking_socket(pair):
    first, _ = pair
    first.setblocking(False)
    for call in (
        lambda: first.recv(1),
        lambda: first.recv_into(bytearray(1)),
        lambda: first.recv(1 << 20),
        lambda: first.recv_into(bytearray(1 << 20)),
    ):
        with pytest.raises(BlockingIOError, match=r"^\[Errno 11\] Resource temporarily unavail"):
            call()
    while True:
        try:
            first.send(bytes(1 << 16))
        except BlockingIOError:
            break
    with pytest.raises(BlockingIOError):
        first.sendall(b"x")


def test_a_timeout_ends_the_wait(pair):
    first, _ = pair
    first.settimeout(0.02)
    for call in (
        lambda: first.recv(1),
        lambda: first.recv_into(bytearray(1)),
        lambda: [first.send(bytes(1 << 16)) for _ in range(100)],
        lambda: first.sendall(bytes(1 << 16)),
    ):
        with pytest.raises(TimeoutError, match="^timed out$"):
            call()


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (float("nan"), ValueError), (1e300, OverflowError), ("1", TypeError)],
)
def test_timeouts_that_are_none(pair, timeout, error):
    with pytest.raises(error):
        pair[0].settimeout(timeout)


@pytest.mark.parametrize("timeout", [None, 10.0])
@pytest.mark.parametrize("call", ["recv", "recv_into"])
def test_receiving_waits(pair, timeout, call):
    first, second = pair
    first.settimeout(timeout)
    into = bytearray(4)
    receive = {"recv": lambda: first.recv(4), "recv_into": lambda: first.recv_into(into) and into}
    waiting = Call(receive[call])
    waiting.wait_asleep()
    second.send(b"data")
    assert waiting.wait_result() == b"data"


@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
@pytest.mark.parametrize("call", ["send", "sendall"])
def test_a_blocking_socket_sends_all(pair, size, call):
    first, second = pair
    first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    data = np.random.default_rng(1).bytes(size)
    sending = Call(lambda: getattr(first, call)(data))
    sending.wait_asleep()
    assert read_exactly(second, size) == data
    assert sending.wait_result() == {"send": size, "sendall": None}[call]


def test_sendall_with_a_timeout_sends_all(pair):
    first, second = pair
    first.settimeout(10)
    first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    array_of_64_kib = np.arange(1 << 13, dtype=np.int64)
    sending = Call(lambda: first.sendall(array_of_64_kib))
    sending.wait_asleep()
    assert read_exactly(second, 1 << 16) == array_of_64_kib.tobytes()
    assert sending.wait_result() is None


def test_a_signal_in_the_middle_of_the_rest_of_a_send(pair):
    first, second = pair
    first.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    handled = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    signals = signal_until(handled, signal.SIGUSR1)
    sent = first.send(bytes(1 << 16))
    signals.wait_result()
    signal.signal(signal.SIGUSR1, before)
    assert 0 < sent < 1 << 16
    assert len(read_exactly(second, sent)) == sent


def errors_of(sock, peer):
    """What each hot call raises, in the words of its class."""
    peer.close()
    yield from (
        lambda: [sock.send(b"x") for _ in range(3)],
        lambda: sock.sendall(b"x"),
        lambda: sock.send("text"),
        lambda: sock.send(b"x", "flags"),
        lambda: sock.send(),
        lambda: sock.recv(-1),
        lambda: sock.recv("1"),
        lambda: sock.recv_into(b"read-only"),
        lambda: sock.recv_into(bytearray(1), 2),
        lambda: sock.recv_into(bytearray(1), -1),
        lambda: sock.recv_into(memoryview(bytearray(9))[::2]),
        lambda: sock.send(memoryview(b"123456789")[::2]),
        lambda: sock.sendall(memoryview(b"123456789")[::2]),
        lambda: sock.recv_into(np.zeros((4, 4))[:, ::2]),
    )
    sock.close()
    yield from (
        lambda: sock.send(b"x"),
        lambda: sock.sendall(b"x"),
        lambda: sock.recv(1),
        lambda: sock.recv_into(bytearray(1)),
    )


def kind_and_number(call):
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value), getattr(caught.value, "errno", None)


def test_errors_are_those_of_the_standard_library():
    standard = [kind_and_number(call) for call in errors_of(*socket.socketpair())]
    fast = [kind_and_number(call) for call in errors_of(*socketpair())]
    assert fast == standard


def test_objects_are_never_filled_with_bytes(pair):
    first, second = pair
    first.send(bytes(24))
    things = np.empty(3, object)
    with pytest.raises(TypeError, match="holds Python objects"):
        second.recv_into(things)
    assert things.tolist() == [None] * 3


def test_a_reset_is_raised_once_and_as_itself(tcp):
    first, second = tcp
    second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, array("i", [1, 0]))
    second.close()
    posix.poll([(first.fileno(), posix.POLLIN)])
    with pytest.raises(ConnectionResetError, match=r"^\[Errno 104\] Connection reset by peer$"):
        first.recv(1)
    assert first.recv(1) == b""


# ---- Batch calls ----


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0], ids=["blocking", "timeout", "nonblocking"])
def test_many_datagrams(udp, timeout):
    first, second = udp
    first.settimeout(timeout)
    second.settimeout(timeout)
    assert first.send_many([b"a", b"bc", b""]) == 3
    buffers, lengths = np.zeros((5, 8), np.uint8), np.zeros(5, np.int64)
    senders = np.zeros((5, 28), np.uint8)
    assert second.recv_many(buffers, lengths, senders) == 3
    assert lengths.tolist() == [1, 2, 0, 0, 0]
    assert posix.unpack_address(senders[0]) == first.getsockname()
    assert second.send_many(buffers[:2], lengths[:2], senders[:2]) == 2
    assert first.recv(9) == b"a"
    assert second.send_many(np.zeros((1, 3), np.uint8), addresses=first.getsockname()) == 1
    assert first.recv_many([bytearray(9)], lengths[:1], flags=socket.MSG_PEEK) == 1


def test_offload_through_the_methods(udp):
    first, second = udp
    first.setsockopt(socket.SOL_UDP, posix.UDP_SEGMENT, 8)
    second.setsockopt(socket.SOL_UDP, posix.UDP_GRO, 1)
    first.send_many([bytes(range(80))])
    lengths, segments = np.zeros(1, np.int64), np.zeros(1, np.int64)
    into = bytearray(1000)
    assert second.recv_many([into], lengths, segments=segments) == 1
    assert (lengths[0], segments[0]) == (80, 8)
    assert into[:80] == bytes(range(80))


def test_many_wait_as_the_timeout_says(udp):
    first, second = udp
    lengths = np.zeros(1, np.int64)
    second.settimeout(0.02)
    with pytest.raises(TimeoutError, match="^timed out$"):
        second.recv_many([bytearray(9)], lengths)
    second.settimeout(0)
    with pytest.raises(BlockingIOError):
        second.recv_many([bytearray(9)], lengths)
    for timeout in None, 10:
        second.settimeout(timeout)
        waiting = Call(lambda: second.recv_many([bytearray(9)], lengths))
        waiting.wait_asleep()
        first.send(b"x")
        assert waiting.wait_result() == 1


def test_sending_many_waits_for_room():
    first, second = socketpair(type=socket.SOCK_DGRAM)
    with first, second:
        first.settimeout(0.02)
        with pytest.raises(TimeoutError, match="^timed out$"):
            while True:
                first.send_many([bytes(1000)] * 10)
        first.settimeout(None)
        waiting = Call(lambda: first.send_many([b"more"]))
        waiting.wait_asleep()
        second.settimeout(5)
        while second.recv(2000) != b"more":
            continue
        assert waiting.wait_result() == 1


def test_many_are_for_datagrams(pair):
    with pytest.raises(ValueError, match="send_many moves datagrams, and this is a SOCK_STREAM"):
        pair[0].send_many([b"x"])
    with pytest.raises(ValueError, match="recv_many moves datagrams, and this is a SOCK_STREAM"):
        pair[0].recv_many([bytearray(1)], np.zeros(1, np.int64))


def test_many_on_a_closed_socket():
    sock = Socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    with pytest.raises(OSError, match=r"Bad file descriptor: sendmmsg\(-1\)"):
        sock.send_many([b"x"])


# ---- Where sockets go ----


def test_makefile(tcp):
    first, second = tcp
    with first.makefile("w", encoding="utf-8") as writer, second.makefile("rb") as reader:
        writer.write("grüße\nlast")
        writer.flush()
        first.shutdown(socket.SHUT_WR)
        assert reader.readline().decode() == "grüße\n"
        assert reader.read() == b"last"
    first.settimeout(0.01)
    with first.makefile("rb") as reader, pytest.raises(TimeoutError):
        second.send(b"no line end")
        reader.readline()


def test_ancillary_data(pair):
    first, second = pair
    socket.send_fds(first, [b"x"], [first.fileno()])
    data, fds, _, _ = socket.recv_fds(second, 10, 4)
    with Socket(fileno=fds[0]) as copy:
        assert data == b"x"
        copy.send(b"through the copy")
    assert second.recvmsg(100)[0] == b"through the copy"


def test_sendfile(pair, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        assert pair[0].sendfile(file) == 7
    assert pair[1].recv(100) == b"content"


def test_selectors(pair):
    first, second = pair
    with selectors.DefaultSelector() as selector:
        key = selector.register(first, selectors.EVENT_READ, data="first")
        assert selector.select(0) == []
        second.send(b"x")
        assert selector.select(5) == [(key, selectors.EVENT_READ)]
        assert selector.unregister(first).fileobj is first


def test_asyncio_streams_and_calls():
    async def talk():
        first, second = socketpair()
        reader, writer = await asyncio.open_connection(sock=first)
        second.setblocking(False)
        loop = asyncio.get_running_loop()
        with second:
            writer.write(b"question\n" * 50_000)
            received = 0
            while received < 9 * 50_000:
                received += len(await loop.sock_recv(second, 1 << 20))
            await loop.sock_sendall(second, b"answer\n" * 50_000)
            for _ in range(50_000):
                assert await reader.readline() == b"answer\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    asyncio.run(talk())


def test_asyncio_server():
    async def talk():
        async def upper(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        listener = create_server((HOST, 0))
        async with await asyncio.start_server(upper, sock=listener):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"hello\n")
            assert await reader.read() == b"HELLO\n"
            writer.close()
            await writer.wait_closed()

    asyncio.run(talk())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate of localhost and its key: paths."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_ssl(tcp, certificate):
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*certificate)
    client_context = ssl.create_default_context(cafile=certificate[0])
    data = np.random.default_rng(2).bytes(300_000)

    def echo():
        with server_context.wrap_socket(tcp[1], server_side=True) as server:
            server.sendall(read_exactly(server, len(data)))
            server.unwrap()

    echoing = Call(echo)
    with client_context.wrap_socket(tcp[0], server_hostname="localhost") as client:
        client.sendall(data)  # not beside recv: OpenSSL's connections are for one thread at a time
        assert read_exactly(client, len(data)) == data
        client.unwrap()
    assert echoing.wait_result() is None


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self):
        super().__init__((HOST, 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = create_server((HOST, 0))
        self.server_address = self.socket.getsockname()


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_http_client_and_server(size):
    body = np.random.default_rng(3).bytes(size)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        connection = http.client.HTTPConnection(*server.server_address, timeout=10)
        connection.sock = create_connection(server.server_address, 10)
        for _ in range(3):
            connection.request("POST", "/", body)
            assert connection.getresponse().read() == body[::-1]
        connection.close()
        server.shutdown()
        thread.join()
