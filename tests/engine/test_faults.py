"""Bad input and rude peers: a clear error or reason, nothing lost, and the server lives."""

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from functools import partial

import pytest
from calls import Call
from conftest import WAIT, read_exactly, read_to_end, wait_until

from fastsock import Client, Disconnected, Message, MultiServer, Reason, SlowConsumer

RESET = struct.pack("ii", 1, 0)


def events_until(server, kind, count=1):
    events = []
    while sum(isinstance(event, kind) for event in events) < count:
        new = server.poll(timeout=WAIT)
        assert new, f"only {events} after {WAIT} s"
        events += new
    return events


def assert_lives(server):
    """The server still serves others."""
    with socket.create_connection(server.address, timeout=WAIT) as peer:
        peer.sendall(b"\0\0\0\5alive" if server.framing == "length" else b"alive\n")
        assert events_until(server, Message)[-1].data == b"alive"


# ---- Where to listen ----


def test_port_taken(serve):
    server = serve()
    with pytest.raises(OSError, match=r"cannot listen on 127.0.0.1:\d+: Address already in use"):
        MultiServer(server.address)


def test_address_of_no_local_interface():
    with pytest.raises(OSError, match="192.0.2.1:0: Cannot assign requested address"):
        MultiServer(("192.0.2.1", 0))


def test_path_in_no_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot listen on"):
        MultiServer(tmp_path / "nowhere" / "socket")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"framing": "lines"}, ValueError, "framing must be one of 'line', 'length', 'raw'"),
        ({"relay": True}, ValueError, "relay must be one of None, 'others', 'all', not True"),
        ({"relay": "all", "relay_except": "end"}, TypeError, "None or bytes, not 'end'"),
        ({"relay": "all", "relay_except": b""}, ValueError, "relay_except must not be empty"),
        ({"relay_except": b"end"}, ValueError, "relay_except=b'end' needs relay='others' or"),
        ({"slow_policy": "drop"}, ValueError, "slow_policy must be one of"),
        ({"slow_grace": -1}, ValueError, "slow_grace must be from 0"),
        ({"slow_grace": float("nan")}, ValueError, "slow_grace must be from 0"),
        ({"linger": "1"}, TypeError, "linger must be a number of seconds, not '1'"),
        ({"log_bytes": 5_000_000}, ValueError, "power of two of at least"),
        ({"log_bytes": 1 << 18}, ValueError, "at least 262160, four times message_bytes_max"),
        ({"connections_max": 0}, ValueError, "connections_max must be from 1"),
        ({"message_bytes_max": 1.5}, TypeError, "message_bytes_max must be an int"),
        ({"backlog": 0}, ValueError, "backlog must be from 1"),
    ],
)
def test_wrong_options_are_explained(options, error, text):
    with pytest.raises(error, match=text):
        MultiServer(("127.0.0.1", 0), **options)


# ---- What peers send ----


@pytest.mark.parametrize(
    ("framing", "data"),
    [
        ("line", b"x" * 1025 + b"\n"),
        ("line", b"a line that never ends " * 100),
        ("length", struct.pack("!I", 1025)),
        ("length", b"\xff\xff\xff\xff"),
    ],
)
def test_a_frame_above_the_limit_closes_that_connection(serve, dial, framing, data):
    server = serve(framing=framing, message_bytes_max=1024)
    peer = dial(server)
    peer.sendall(data)
    assert events_until(server, Disconnected)[-1].reason == "message too big"
    assert read_to_end(peer) == b""
    assert_lives(server)


def test_a_longest_line_is_not_too_big(serve, dial):
    server = serve(message_bytes_max=1024)
    peer = dial(server)
    peer.sendall(b"x" * 1024 + b"\r\n")
    assert events_until(server, Message)[-1].data == b"x" * 1024


@pytest.mark.parametrize("framing", ["line", "length"])
def test_a_reset_in_the_middle_of_a_frame(serve, dial, framing):
    server = serve(framing=framing)
    peer = dial(server)
    peer.sendall(b"\0\0\0\5who" if framing == "length" else b"who")
    server.wait_connections(1, timeout=WAIT)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()
    assert events_until(server, Disconnected)[-1].reason == Reason.RESET
    assert_lives(server)


@pytest.mark.parametrize("framing", ["line", "length"])
def test_one_byte_at_a_time(serve, dial, framing):
    server = serve(framing=framing)
    peer = dial(server)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got = []
    for byte in b"\0\0\0\3one\0\0\0\3two" if framing == "length" else b"one\r\ntwo\n":
        peer.sendall(bytes([byte]))
        got += [e.data for e in server.poll(timeout=0) if isinstance(e, Message)]
    while len(got) < 2:
        got += [e.data for e in server.poll(timeout=WAIT) if isinstance(e, Message)]
    assert got == [b"one", b"two"]


def test_a_client_that_says_nothing_disturbs_nobody(serve, dial):
    server = serve()
    silent = dial(server)
    assert_lives(server)
    server.broadcast(b"hello")
    server.flush()
    assert read_exactly(silent, 6) == b"hello\n"


def test_more_messages_than_a_turn_reports(serve, dial):
    server = serve()
    peer = dial(server)
    count = 50_000
    writer = threading.Thread(target=peer.sendall, args=(b"\n" * count + b"last\n",))
    writer.start()
    got = []
    while not got or got[-1] != b"last":
        got += [e.data for e in server.poll(timeout=WAIT) if isinstance(e, Message)]
    writer.join(WAIT)
    assert got == [b""] * count + [b"last"]


# ---- Peers that do not take what is sent ----


@pytest.mark.parametrize("start", [False, True])
def test_who_never_reads_is_closed_after_slow_grace_and_others_lose_nothing(serve, dial, start):
    server = serve(slow_grace=0.2)
    reasons = []
    server.on_disconnect(lambda conn, reason: reasons.append((conn.number, reason)))
    if start:
        server.start()
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    with Client.connect(server.address) as reader:
        server.wait_connections(2, timeout=WAIT)
        count, got = 64 << 4, []

        def read():
            while len(got) < count:
                got.extend(reader.recv_many(100, timeout=WAIT))

        thread = threading.Thread(target=read)
        thread.start()
        for i in range(count):
            server.broadcast(b"%065535d" % i)
        server.drain(timeout=WAIT)
        thread.join(WAIT)
        assert [int(data[-9:]) for data in got] == list(range(count))
        if not start:
            for event in server.poll(timeout=0):
                if isinstance(event, Disconnected):
                    reasons.append((event.conn.number, event.reason))
        wait_until(lambda: reasons == [(1, "slow consumer")], "the slow one is told of")


def test_a_relay_does_not_wait_for_who_never_reads(serve, dial):
    server = serve(slow_grace=0.2, relay="others").start()
    dial(server)
    with Client.connect(server.address) as speaker, Client.connect(server.address) as reader:
        server.wait_connections(3, timeout=WAIT)
        count = 64 << 4
        thread = threading.Thread(
            target=speaker.send_many, args=([b"%065535d" % i for i in range(count)],)
        )
        thread.start()
        got = []
        while len(got) < count:
            got += reader.recv_many(100, timeout=WAIT)
        thread.join(WAIT)
        assert [int(data[-9:]) for data in got] == list(range(count))
        assert server.stats().ended == {Reason.SLOW: 1}


def test_direct_messages_to_who_never_reads_are_bounded(serve, dial):
    server = serve(slow_grace=0.2, outbox_bytes_max=1 << 18)
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    conn = server.connections[0]
    while conn.send(b"x" * 65535):
        assert conn.stats().outbox_bytes <= 1 << 18
    assert events_until(server, Disconnected)[-1].reason == Reason.SLOW
    with pytest.raises(SlowConsumer, match="connection 1 has ended: slow consumer"):
        conn.stats()
    assert_lives(server)


def test_who_finds_no_descriptor_is_refused_and_the_others_go_on(serve, caplog):
    server = serve(log_bytes=1 << 16, message_bytes_max=1 << 12)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    peers = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, hard))
    try:
        for _ in range(8):
            peers.append(socket.create_connection(server.address, timeout=WAIT))
        while (stats := server.stats()).accepted + stats.refused < 8:
            server.poll(timeout=0.01)
        server.poll(timeout=0)
        assert 0 < stats.refused < 8
        served = len(server.connections)
        for peer in peers[served:]:
            assert peer.recv(1) == b""
        readers = [Call(partial(read_exactly, peer, 100 * 4001)) for peer in peers[:served]]
        for _ in range(100):  # More than the log holds: it waits for room.
            server.broadcast(b"x" * 4000, timeout=WAIT)
        server.connections[0].send(b"y", timeout=WAIT)
        server.drain(timeout=WAIT)
        for reader in readers:
            assert len(reader.wait_result()) == 100 * 4001
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert f"callers refused: {stats.refused} at 127.0.0.1:" in caplog.text
    peers.append(socket.create_connection(server.address, timeout=WAIT))
    server.wait_connections(served + 1, timeout=WAIT)
    for peer in peers:
        peer.close()
    events_until(server, Disconnected, served + 1)


def test_callers_beyond_connections_max_wait_in_the_backlog(serve, dial):
    server = serve(connections_max=2)
    first, _second, third = dial(server), dial(server), dial(server)
    server.wait_connections(2, timeout=WAIT)
    with pytest.raises(TimeoutError):
        server.wait_connections(3, timeout=0.05)
    first.close()
    events_until(server, Disconnected)
    server.wait_connections(2, timeout=WAIT)
    server.broadcast(b"your turn")
    server.flush()
    assert read_exactly(third, 10) == b"your turn\n"


# ---- Ctrl-C ----


@pytest.mark.parametrize("drive", ["poll", "iterate", "serve_forever", "drain", "sleep"])
def test_ctrl_c_ends_a_server_at_once(drive):
    program = f"""
import signal, sys, threading
from fastsock import MultiServer
server = MultiServer(("127.0.0.1", 0))
calls = dict(
    poll=lambda: server.poll(),
    iterate=lambda: list(server),
    serve_forever=lambda: server.serve_forever(),
    drain=lambda: server.start().wait_connections(1),
    sleep=lambda: (server.start(), threading.Event().wait()),
)
try:
    with server:
        print("ready", flush=True)
        calls[{drive!r}]()
except KeyboardInterrupt:
    sys.exit(42)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            wait_until(lambda: sleeps(process.pid), "the server sleeps")
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT) == 42
        finally:
            process.kill()


def sleeps(pid):
    """Whether the main thread of a process waits for something."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def test_without_memory_it_is_a_memory_error():
    """A lack of memory is a MemoryError, not an OSError with an errno."""
    program = """
import resource
from fastsock import MultiServer
server = MultiServer(("127.0.0.1", 0))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for make in (lambda: server.channel("large", log_bytes=1 << 30),
             lambda: MultiServer(("127.0.0.1", 0), log_bytes=1 << 30)):
    try:
        make()
    except MemoryError as error:
        print(error)
server.channel("large").publish(b"another try")
server.close()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert len(told) == 2 and all("no memory" in line for line in told), told
