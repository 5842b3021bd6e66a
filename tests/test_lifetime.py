"""Objects that are dropped without close(): nothing outlives them, and a warning says so."""

import gc
import os
import socket
import subprocess
import sys
import threading
import weakref

import pytest
from conftest import WAIT, open_descriptors, read_exactly, read_to_end, wait_until

from fastsock import Client, MultiServer, SingleServer, Socket
from fastsock.client._accept import Listener
from fastsock.core.gate import Gate
from fastsock.core.refusals import Refusals
from fastsock.fifo import FifoReader, FifoWriter

HOME = ("127.0.0.1", 0)


def refused(address):
    """Whether nobody listens there."""
    with socket.socket() as peer:
        return peer.connect_ex(address) != 0


def dropped(name):
    """Expects the warning for an object of that class."""
    return pytest.warns(
        ResourceWarning, match=rf"<{name} .*was dropped without close\(\).*with statement"
    )


# ---- MultiServer ----


def test_a_server_without_a_thread_ends_when_it_is_dropped():
    server = MultiServer(HOME)
    address = server.address
    with socket.create_connection(address, timeout=WAIT) as peer:
        server.wait_connections(1, timeout=WAIT)
        server.broadcast(b"the last words")
        with dropped("MultiServer"):
            del server
            gc.collect()
        assert read_to_end(peer) == b"the last words\n"
    assert refused(address)


def test_a_server_that_served_nobody_needs_no_garbage_collection():
    gc.disable()
    try:
        server = MultiServer(HOME).start()
        address = server.address
        with dropped("MultiServer"):
            del server
        wait_until(lambda: refused(address), "the port is free")
    finally:
        gc.enable()


def test_the_thread_of_a_dropped_server_ends_and_its_peers_are_told():
    server = MultiServer(HOME, relay="all").start()
    thread, address = server._thread, server.address
    with socket.create_connection(address, timeout=WAIT) as peer:
        peer.sendall(b"x\n")
        assert read_exactly(peer, 2) == b"x\n"
        with pytest.warns(ResourceWarning, match="its port, connections and thread end now"):
            del server
            gc.collect()
        assert read_to_end(peer) == b""
    thread.join(WAIT)
    assert not thread.is_alive() and refused(address)


class Room:
    """A program's own object: its handlers are bound methods, and it holds the server."""

    def __init__(self):
        self.server = MultiServer(HOME)
        self.server.on_connect(self.welcome)
        self.server.on_message(self.hear)

    def welcome(self, conn):
        conn.context = self

    def hear(self, conn, data):
        self.server.broadcast(data)


@pytest.mark.parametrize("started", [True, False])
def test_a_cycle_through_handlers_and_connections_is_collected(started):
    room = Room()
    if started:
        room.server.start()
    address, gone = room.server.address, weakref.ref(room)
    with socket.create_connection(address, timeout=WAIT) as peer:
        if started:
            peer.sendall(b"x\n")
            assert read_exactly(peer, 2) == b"x\n"
        else:
            room.server.wait_connections(1, timeout=WAIT)
            room.server.connections[0].context = room
        with dropped("MultiServer"):
            del room
            gc.collect()
            wait_until(lambda: gone() is None, "the room is collected")
        assert read_to_end(peer) == b""
    wait_until(lambda: refused(address), "the port is free")


def test_a_connection_a_channel_and_an_iterator_keep_their_server():
    server = MultiServer(HOME).start()
    with Client.connect(server.address, timeout=WAIT) as client:
        server.wait_connections(1, timeout=WAIT)
        for kept in (server.connection(1), server.channel("x"), iter(server)):
            del server
            gc.collect()
            client.send(b"still here")
            server = kept if isinstance(kept, MultiServer) else gc.get_referents(kept)[0]
            assert isinstance(server, MultiServer)
            server.wait_connections(1, timeout=WAIT)
        client.close()
        server.close()


def test_a_server_is_dropped_in_its_own_handler():
    box, told = [], threading.Event()
    with pytest.warns(ResourceWarning, match="MultiServer .* was dropped"):
        box.append(MultiServer(HOME).start())
        thread, address = box[0]._thread, box[0].address

        def forget(conn):
            box.clear()
            told.set()

        box[0].on_connect(forget)
        with socket.create_connection(address, timeout=WAIT) as peer:
            assert told.wait(WAIT)
            gc.collect()
            assert read_to_end(peer) == b""
        thread.join(WAIT)
        gc.collect()
    assert not thread.is_alive() and refused(address)


def test_servers_are_dropped_by_garbage_collection_in_the_thread_of_another(serve):
    """Their destructors run in a handler of it."""
    server, told = serve(), []

    @server.on_message
    def collect(conn, data):
        for _ in range(3):
            cycle = [MultiServer(HOME).start(), SingleServer(HOME)]
            cycle.append(cycle)
        del cycle
        gc.collect()
        told.append(data)

    server.start()
    with pytest.warns(ResourceWarning), Client.connect(server.address, timeout=WAIT) as client:
        client.send(b"now")
        wait_until(lambda: told == [b"now"], "the handler returns")


def test_a_dropped_unix_server_leaves_no_file(tmp_path):
    for kind in MultiServer, SingleServer:
        path = tmp_path / kind.__name__
        server = kind(path)
        with dropped(kind.__name__):
            del server
        assert not path.exists()


def test_what_was_closed_says_nothing():
    server = MultiServer(HOME).start()
    client = Client.connect(server.address, timeout=WAIT)
    client.close()
    server.close()
    del client, server
    gc.collect()  # Warnings are errors here.


def test_a_warning_that_is_an_error_keeps_nothing_open():
    program = """
import gc, os, threading, warnings
from fastsock import Client, MultiServer, SingleServer
before = os.listdir("/proc/self/fd")
MultiServer(("127.0.0.1", 0)).start()
with MultiServer(("127.0.0.1", 0)) as server:
    Client.connect(server.address)
SingleServer(("127.0.0.1", 0))
gc.collect()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)
assert os.listdir("/proc/self/fd") == before
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("was dropped without close()") == 3


def test_the_end_of_a_program_drops_what_is_open():
    """Servers in threads, in modules and in cycles, while clients are connected."""
    program = """
import sys
from fastsock import Client, MultiServer, SingleServer
server = MultiServer(("127.0.0.1", 0), relay="all").start()
cycle = [MultiServer(("127.0.0.1", 0)).start()]
cycle.append(cycle)
sys.kept = MultiServer(("127.0.0.1", 0)).start()
single = SingleServer(("127.0.0.1", 0))
caller = Client.connect(single.address)
conn = single.accept()
clients = [Client.connect(server.address) for _ in range(3)]
clients[0].send(b"x")
print(clients[1].recv(timeout=10).decode())
"""
    for flags in ([], ["-X", "dev"]):
        done = subprocess.run(
            [sys.executable, *flags, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, "x\n"), done.stderr
        assert "Traceback" not in done.stderr and "Fatal" not in done.stderr
        assert ("was dropped without close()" in done.stderr) == bool(flags)


# ---- SingleServer, Client, Listener ----


@pytest.mark.parametrize("queue", [True, False])
def test_a_dropped_server_for_one_leaves_the_conversation_to_who_has_it(queue):
    server = SingleServer(HOME, queue=queue, linger=0.05)
    address = server.address
    with Client.connect(address, timeout=WAIT) as caller, server.accept(timeout=WAIT) as conn:
        threads = [each for each in threading.enumerate() if each.name == "fastsock refuser"]
        assert bool(threads) != queue
        with dropped("SingleServer"):
            del server
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        assert refused(address)
        conn.send(b"still here")
        assert caller.recv(timeout=WAIT) == b"still here"
        conn.close()


def test_a_conversation_that_nobody_has_ends_with_its_server():
    server = SingleServer(HOME)
    with Client.connect(server.address, timeout=WAIT) as caller:
        server.accept(timeout=WAIT)
        with dropped("Endpoint"), dropped("SingleServer"):
            del server
            wait_until(
                lambda: not any(each.name == "fastsock refuser" for each in threading.enumerate()),
                "the thread ends",
            )
            gc.collect()
        assert list(caller) == []


def test_a_dropped_client_ends_in_an_orderly_way(serve, dial):
    server = serve()
    client = Client.connect(server.address, timeout=WAIT)
    client.send(b"the last words")
    with dropped("Client"):
        del client
    events = []
    while len(events) < 3:
        events += server.poll(timeout=WAIT)
    assert events[1].data == b"the last words"
    assert events[2].reason == "closed by peer"


def test_an_iterator_keeps_its_client(serve):
    server = serve().start()
    messages = iter(Client.connect(server.address, timeout=WAIT))
    server.wait_connections(1, timeout=WAIT)
    server.broadcast(b"x")
    assert next(messages) == b"x"
    with dropped("Client"):
        del messages


def test_a_client_that_was_replaced_says_nothing_and_the_new_one_does(serve):
    server = serve().start()
    client = Client.connect(server.address, timeout=WAIT)
    client = client.reconnect()
    gc.collect()
    with dropped("Client"):
        del client


def test_an_attempt_to_connect_that_ctrl_c_ends_leaves_nothing(monkeypatch):
    def interrupted(self, *_):
        opened(self, *_)
        raise KeyboardInterrupt

    with socket.create_server(HOME) as listener:
        opened = Client._open
        monkeypatch.setattr(Client, "_open", interrupted)
        before = open_descriptors()
        with pytest.raises(KeyboardInterrupt):
            Client.connect(listener.getsockname(), timeout=WAIT)
        assert open_descriptors() == before


def test_a_dropped_listener():
    sock = socket.create_server(HOME)
    address = sock.getsockname()
    listener = Listener([sock.detach()], 1, Refusals([HOME]))
    with pytest.warns(ResourceWarning, match="Listener .*was dropped without close.*its port"):
        del listener
    assert refused(address)


def test_a_listener_without_arguments_closes_no_descriptor_of_others():
    """A process of its own, whose stdin it closed."""
    program = """
import os
from fastsock.client._accept import Listener
for arguments in ((), (1,), (2, ("127.0.0.1", 0), "many")):
    try:
        Listener(*arguments)
    except TypeError:
        os.fstat(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


# ---- FIFO ----


def test_a_dropped_fifo_reader(tmp_path):
    path = tmp_path / "fifo"
    reader = FifoReader(path)
    texts = iter(reader)
    del reader
    with FifoWriter(path) as writer:
        writer.write(b"x")
    assert next(texts) == b"x"
    with dropped("FifoReader"):
        del texts
    assert not path.exists()


def test_a_dropped_fifo_writer(tmp_path):
    path = tmp_path / "fifo"
    with FifoReader(path):
        writer = FifoWriter(path)
        writer.write(b"x")
        with dropped("FifoWriter"):
            del writer
        assert path.exists()
    assert not path.exists()


def test_a_closed_fifo_says_so(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader, writer = FifoReader(path), FifoWriter(path)
    for each in reader, writer:
        each.close()
        each.close()
    reader.stop()
    with pytest.raises(ValueError, match=f"<FifoReader {path}> is closed"):
        iter(reader)
    with pytest.raises(ValueError, match=f"<FifoWriter {path}> is closed"):
        writer.write(b"x")


def test_a_gate_needs_no_close():
    before, gate = open_descriptors(), Gate()
    gate.shut()
    assert not gate.wait(0)
    del gate
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", [FifoReader, FifoWriter])
def test_a_fifo_that_was_never_opened_says_so(kind):
    made = kind.__new__(kind)
    assert repr(made) == f"<{kind.__name__} that is not open>"
    made.close()
    for use in (
        lambda: made.path,
        lambda: made.created,
        lambda: iter(made),
        lambda: made.write(b"x"),
    ):
        with pytest.raises((RuntimeError, TypeError, AttributeError), match=kind.__name__):
            use()


def test_a_server_for_one_that_was_never_opened_says_so():
    made = SingleServer.__new__(SingleServer)
    assert repr(made) == "<SingleServer that is not open>"
    made.close()
    with pytest.raises(RuntimeError, match=r"was never opened: use SingleServer\(address\)"):
        made.accept()


# ---- A second __init__ ----


@pytest.mark.parametrize("kind", [FifoReader, FifoWriter])
def test_a_second_init_of_a_fifo_is_refused_and_it_stays(kind, tmp_path):
    with kind(tmp_path / "fifo") as end:
        before = open_descriptors()
        with pytest.raises(RuntimeError, match=f"__init__ of this {kind.__name__} has run"):
            end.__init__(tmp_path / "other")
        assert open_descriptors() == before
        assert end.path == tmp_path / "fifo"


def test_a_second_init_of_a_client_and_of_a_listener_changes_nothing(serve):
    server = serve().start()
    with Client.connect(server.address, timeout=WAIT) as client:
        before = open_descriptors()
        with pytest.raises(TypeError, match=r"use Client.connect"):
            client.__init__(server.address)
        with pytest.raises(RuntimeError, match="was opened already"):
            client._adopt(0, client._options)
        assert open_descriptors() == before
    listener = Listener([socket.create_server(HOME).detach()], 1, Refusals([HOME]))
    before = open_descriptors()
    Listener.__init__(listener)
    assert open_descriptors() == before
    listener.close()


def test_a_second_init_of_a_socket_is_refused_and_it_stays():
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        before, number = open_descriptors(), sock.fileno()
        with pytest.raises(RuntimeError, match="__init__ of this Socket has run already"):
            sock.__init__(socket.AF_INET, socket.SOCK_STREAM)
        assert (open_descriptors(), sock.fileno()) == (before, number)
        assert sock.type == socket.SOCK_DGRAM


def test_a_socket_that_new_alone_has_made_has_no_descriptor():
    made = Socket.__new__(Socket)
    assert made.fileno() == -1
    for use in (lambda: made.send(b"x"), lambda: made.recv(1), lambda: made.getsockname()):
        with pytest.raises(OSError, match="Bad file descriptor|bad family"):
            use()
