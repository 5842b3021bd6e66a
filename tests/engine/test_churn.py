"""Connections that come, go, break and are closed at awkward moments; processes that fork."""

import resource
import socket
import struct
import subprocess
import sys
import threading

import pytest
from conftest import WAIT, open_descriptors, read_exactly, read_to_end, wait_until

from fastsock import Client, Connected, Disconnected, Message, Reason

RESET = struct.pack("ii", 1, 0)


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()


def test_a_thousand_clients_vanish_at_once(serve):
    server = serve().start()
    peers = [socket.create_connection(server.address, timeout=WAIT) for _ in range(1000)]
    server.wait_connections(1000, timeout=WAIT)
    with Client.connect(server.address) as stays:
        server.wait_connections(1001, timeout=WAIT)
        server.broadcast(b"x" * 10_000)
        for peer in peers:
            reset(peer)
        server.broadcast(b"still here")
        assert len(stays.recv(timeout=WAIT)) == 10_000
        assert stays.recv(timeout=WAIT) == b"still here"
        wait_until(lambda: sum(server.stats().ended.values()) == 1000, "all are told of")
        assert len(server.connections) == 1


def test_resets_while_there_is_much_to_flush(serve, dial):
    server = serve(slow_grace=60)
    slow = [socket.create_connection(server.address, timeout=WAIT) for _ in range(10)]
    server.wait_connections(10, timeout=WAIT)
    while server.stats().queued_bytes < 1 << 20:
        server.broadcast(b"x" * 65535)
    for peer in slow:
        reset(peer)
    ended = 0
    while ended < 10:
        ended += sum(isinstance(e, Disconnected) for e in server.poll(timeout=WAIT))
    assert server.stats().queued_bytes == 0


def test_what_a_peer_said_before_it_broke_is_still_heard(serve):
    server = serve()
    peer = socket.create_connection(server.address, timeout=WAIT)
    server.wait_connections(1, timeout=WAIT)
    peer.sendall(b"last words\n")
    peer.close()
    server.broadcast(b"too late")
    server.flush()
    server.broadcast(b"far too late")
    server.flush()
    events = []
    while not any(isinstance(event, Disconnected) for event in events):
        events += server.poll(timeout=WAIT)
    assert [type(event) for event in events] == [Connected, Message, Disconnected]


def test_ten_thousand_connections_come_and_go_and_leave_nothing(serve):
    server = serve().start()

    def cycle(count):
        for _ in range(count):
            with socket.create_connection(server.address, timeout=WAIT) as peer:
                peer.sendall(b"hello\n")

    cycle(1000)
    wait_until(lambda: sum(server.stats().ended.values()) == 1000, "all are told of")
    descriptors = open_descriptors()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cycle(9000)
    wait_until(lambda: sum(server.stats().ended.values()) == 10_000, "all are told of")
    assert open_descriptors() == descriptors
    # The allocator may round a little; a connection's record alone would be 9000 of them.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 512
    assert server.stats().queued_bytes == 0


# ---- Handlers ----


def test_a_handler_closes_its_own_connection_and_another(serve):
    server = serve()

    @server.on_message
    def close(conn, data):
        conn.send(b"bye")
        conn.close()
        server.connection(int(data)).close()
        conn.close()

    server.start()
    with Client.connect(server.address) as one, Client.connect(server.address) as two:
        server.wait_connections(2, timeout=WAIT)
        one.send(b"2")
        assert list(one) == [b"bye"]
        assert list(two) == []
    wait_until(lambda: server.stats().ended == {Reason.LOCAL: 2}, "both are closed")


def test_a_handler_publishes_more_than_the_log_holds(serve, dial):
    server = serve(log_bytes=1 << 19)

    @server.on_message
    def flood(conn, data):
        for i in range(1000):
            server.broadcast(b"%09d" % i + b"x" * 5000)

    server.start()
    with Client.connect(server.address) as client:
        client.send(b"go")
        got = []
        while len(got) < 1000:
            got += client.recv_many(1000, timeout=WAIT)
    assert [int(data[:9]) for data in got] == list(range(1000))


def test_handlers_close_connections_in_every_event(serve):
    server = serve()
    told = []
    server.on_connect(lambda conn: conn.close() if conn.number % 2 else conn.send(b"stay"))
    server.on_disconnect(lambda conn, reason: told.append(conn.number) or conn.close())
    server.start()
    clients = [Client.connect(server.address, linger=WAIT) for _ in range(20)]
    for number, client in enumerate(clients, 1):
        if number % 2:
            assert list(client) == []
        else:
            assert client.recv(timeout=WAIT) == b"stay"
        client.close()
    wait_until(lambda: sorted(told) == list(range(1, 21)), "all are told of")


# ---- Fork ----


def test_a_forked_child_cannot_touch_the_server(serve, dial):
    program = """
import os, sys
from fastsock import Client, MultiServer
server = MultiServer(("127.0.0.1", 0)).start()
client = Client.connect(server.address)
server.wait_connections(1, timeout=10)
conn = server.connections[0]
pid = os.fork()
if pid == 0:
    errors = 0
    for call in (
        lambda: server.broadcast(b"x"), server.poll, server.stats, server.flush, server.fileno,
        lambda: conn.send(b"x"), lambda: server.connections, lambda: server.address,
        lambda: server.drain(timeout=1), lambda: server.channel("x"),
    ):
        try:
            call()
        except RuntimeError as error:
            errors += "belongs to the process that forked" in str(error)
    server.close()
    sockets = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.exists(f"/proc/self/fd/{fd}")]
    left = [name for name in sockets if name.startswith(("socket:", "anon_inode:"))]
    os._exit(0 if errors == 10 and not left else 1 + errors)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
server.broadcast(b"the parent goes on")
assert client.recv(timeout=10) == b"the parent goes on"
client.close()
server.close()
sys.exit(status)
"""
    # Python warns of forking with threads, which is just what is done here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- Closing while others are at it ----


@pytest.mark.parametrize("round_", range(5))
def test_closing_while_threads_publish(serve, round_):
    server = serve(log_bytes=1 << 19).start()
    errors = []

    def publish():
        try:
            while True:
                server.broadcast(b"x" * 1000)
        except Exception as error:
            errors.append(type(error).__name__)

    with Client.connect(server.address) as client:
        server.wait_connections(1, timeout=WAIT)
        threads = [threading.Thread(target=publish) for _ in range(3)]
        for thread in threads:
            thread.start()
        client.recv_many(100, timeout=WAIT)
        closer = threading.Thread(target=server.close)
        closer.start()
        for _ in client:
            pass
        for thread in [*threads, closer]:
            thread.join(WAIT)
            assert not thread.is_alive()
    assert errors == ["ServerClosed"] * 3


def test_a_half_closed_peer_gets_what_was_published_before_its_end(serve, dial):
    server = serve()
    server.on_message(lambda conn, data: conn.send(data.upper()))
    server.start()
    peer = dial(server)
    peer.sendall(b"one\ntwo\nthree\n")
    peer.shutdown(socket.SHUT_WR)
    assert read_to_end(peer) == b"ONE\nTWO\nTHREE\n"


def test_a_server_of_many_idle_connections_still_answers(serve):
    server = serve()
    peers = [socket.create_connection(server.address, timeout=WAIT) for _ in range(2000)]
    server.wait_connections(2000, timeout=WAIT)
    server.broadcast(b"to all")
    server.flush()
    for peer in peers:
        assert read_exactly(peer, 7) == b"to all\n"
        peer.close()
