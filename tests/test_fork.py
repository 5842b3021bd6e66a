"""Forked children hold nothing that is their parent's, and leave it alone."""

import multiprocessing
import os
import socket
import subprocess
import sys

import pytest
from calls import Call
from conftest import WAIT, read_exactly, wait_until

from fastsock import Client, MultiServer, SingleServer
from fastsock.client._accept import Listener
from fastsock.core.refusals import Refusals
from fastsock.fifo import FifoReader, FifoWriter

HOME = ("127.0.0.1", 0)


def in_child(check):
    """Whether check() is true in a forked child."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def holds_nothing_of(descriptors):
    """Whether this process has none of the sockets, pipes and FIFOs, told by their names."""
    mine = set()
    for name in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{name}"):
            mine.add(os.readlink(f"/proc/self/fd/{name}"))
    return not mine & descriptors


def names_of(*descriptors):
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in descriptors}


def foreign(kind, *calls):
    """Whether each call says that it is the parent's."""
    for call in calls:
        try:
            call()
        except RuntimeError as error:
            if f"this {kind} belongs to the process that forked this one" not in str(error):
                return False
        else:
            return False
    return True


@pytest.fixture
def everything(tmp_path):
    """Whatever holds descriptors, in use: the names of these, and the objects."""
    before = set(os.listdir("/proc/self/fd"))
    server = MultiServer(HOME, linger=0.05).start()
    clients = [Client.connect(server.address, timeout=WAIT) for _ in range(2)]
    clients[1] = clients[1].reconnect()
    single = SingleServer(HOME, linger=0.05)
    caller = Client.connect(single.address, timeout=WAIT)
    conn = single.accept(timeout=WAIT)
    sock = socket.create_server(HOME)
    listener = Listener([sock.detach()], 1, Refusals([HOME]))
    reader = FifoReader(tmp_path / "fifo")
    writer = FifoWriter(tmp_path / "fifo")
    writer.write(b"first")
    held = [server, *clients, caller, conn, single, listener, writer, reader]
    server.wait_connections(2, timeout=WAIT)
    now = [name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")]
    names = names_of(*(int(name) for name in set(now) - before))
    names = {name for name in names if name.startswith(("socket:", "pipe:", "anon_inode:", "/"))}
    yield names, held
    for each in (single, caller, server, *clients, *held):
        each.close()


def test_a_child_holds_nothing_and_says_so(everything):
    names, (server, first, second, caller, conn, single, listener, writer, reader) = everything
    names = {name for name in names if "eventpoll" not in name and "[eventfd]" not in name}
    names = {name for name in names if "timerfd" not in name and "/proc" not in name}
    assert len(names) >= 10

    def check():
        calls = [
            *(lambda end=end: end.send(b"x") for end in (first, second, caller, conn)),
            *(lambda end=end: end.recv(timeout=0) for end in (first, second, caller, conn)),
        ]
        return (
            holds_nothing_of(names)
            and foreign("connection", *calls)
            and all(end.closed and end.fileno() == -1 for end in (first, conn))
            and foreign(
                "server",
                lambda: single.accept(timeout=0),
                listener.take,
                lambda: server.broadcast(b"x"),
            )
            and foreign("FifoReader", lambda: iter(reader))
            and foreign("FifoWriter", lambda: writer.write(b"x"))
            and str(single.address[1]) in repr(single)
            and str(server).startswith("<MultiServer 127.0.0.1:")
        )

    assert in_child(check)


def test_a_child_that_closes_and_drops_all_leaves_the_parent_undisturbed(everything):
    _, held = everything
    server, first, second, caller, conn, single, _, writer, reader = held

    def check():
        for each in held:
            each.close()
        held.clear()
        return True

    kept = list(held)
    assert in_child(check)
    assert held == kept
    server.broadcast(b"to all")
    assert [end.recv(timeout=WAIT) for end in (first, second)] == [b"to all"] * 2
    caller.send(b"hello")
    assert conn.recv(timeout=WAIT) == b"hello"
    writer.write(b"second")
    texts = iter(reader)
    assert [next(texts), next(texts)] == [b"first", b"second"]
    conn.close()
    with socket.create_connection(single.address, timeout=WAIT) as other:
        assert single.accept(timeout=WAIT).peer == other.getsockname()


def test_a_child_that_outlives_its_parent_holds_no_port_and_no_connection():
    """The parent ends without closing; its peer sees that, and its ports are free, while the child
    still runs."""
    program = """
import os, sys
from fastsock import Client, MultiServer, SingleServer
server = MultiServer(("127.0.0.1", 0)).start()
single = SingleServer(("127.0.0.1", 0))
caller = Client.connect(("127.0.0.1", int(sys.argv[1])))
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print(server.address[1], single.address[1], flush=True)
os._exit(0)
"""
    with (
        socket.create_server(HOME) as listener,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, str(listener.getsockname()[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as parent,
    ):
        peer, _ = listener.accept()
        ports = [int(word) for word in parent.stdout.readline().split()]
        assert parent.wait(WAIT) == 0
        with peer:
            peer.settimeout(WAIT)
            assert peer.recv(1) == b""  # The child still has stdin to read.
        for port in ports:
            SingleServer(("127.0.0.1", port)).close()
        parent.stdin.close()


def _worker(pipe, client, single):
    told = [client.closed, foreign("connection", lambda: client.send(b"x"))]
    told.append(foreign("server", lambda: single.accept(timeout=0)))
    with client.reconnect() as own:
        own.send(b"of the child's own")
        told.append(own.recv(timeout=WAIT))
    pipe.send(told)
    pipe.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_multiprocessing_and_a_connection_of_the_childs_own(serve):
    server = serve(relay="all").start()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with (
        SingleServer(HOME) as single,
        Client.connect(server.address, timeout=WAIT) as client,
        ours,
    ):
        worker = context.Process(target=_worker, args=(theirs, client, single))
        worker.start()
        theirs.close()
        assert ours.poll(WAIT)
        assert ours.recv() == [True, True, True, b"of the child's own"]
        worker.join(WAIT)
        assert worker.exitcode == 0
        worker.close()
        assert client.recv(timeout=WAIT) == b"of the child's own"


def test_a_program_that_is_started_inherits_nothing(everything):
    names, _ = everything
    program = "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3, 64)"
    program += " if os.path.lexists(f'/proc/self/fd/{n}')), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], close_fds=False, capture_output=True, text=True, timeout=60
    )
    inherited = set(done.stdout.splitlines())
    sockets = {name for name in names if name.startswith(("socket:", "pipe:"))}
    assert sockets and not inherited & sockets


def test_a_fork_in_the_middle_of_an_accept_and_a_send(serve, dial):
    """Locks that a thread of the parent holds are not waited for in the child."""
    server = serve(linger=0.05)
    with SingleServer(HOME) as single, Client.connect(server.address, timeout=WAIT) as client:
        peer = dial(server)
        client._linger = 0.05
        calls = [Call(lambda: single.accept(timeout=WAIT)), Call(lambda: client.recv(timeout=WAIT))]
        for call in calls:
            call.wait_asleep()
        assert in_child(
            lambda: foreign("server", single.accept) and foreign("connection", client.recv)
        )
        single.close()
        server.wait_connections(2, timeout=WAIT)
        server.broadcast(b"x")
        server.flush()
        assert calls[1].wait_result() == b"x"
        assert read_exactly(peer, 2) == b"x\n"
        wait_until(lambda: calls[0].wait_result(), "accept ends")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
def test_a_process_for_each_client():
    """The server of one's own that forks for each caller: the children hold their connections, not
    the port."""
    with SingleServer(HOME, queue=True) as server:
        children, peers = [], []
        for _ in range(2):
            peers.append(socket.create_connection(server.address, timeout=WAIT))
            fd = server.accept(timeout=WAIT).detach()
            if (child := os.fork()) == 0:
                try:
                    for peer in peers:  # The test's own ends are not the child's.
                        peer.close()
                    with Client.from_socket(fd, linger=WAIT) as conn:
                        conn.send(b"%d hears %s" % (len(children), conn.recv(timeout=WAIT)))
                finally:
                    os._exit(0)
            os.close(fd)
            children.append(child)
        address = server.address
    SingleServer(address).close()  # Its port is free while the children serve.
    for number, peer in enumerate(peers):
        with peer:
            peer.sendall(b"hello\n")
            assert read_exactly(peer, 14) == b"%d hears hello\n" % number
    for child in children:
        assert os.waitpid(child, 0) == (child, 0)


def test_a_child_of_a_child_has_its_own(serve):
    """What a child opens is hidden from its own children in turn."""
    address = serve(relay="all").start().address

    def check():
        own = Client.connect(address, timeout=WAIT)
        inner = in_child(lambda: foreign("connection", lambda: own.send(b"x")))
        own.send(b"still open")
        return inner and own.recv(timeout=WAIT) == b"still open"

    assert in_child(check)


def test_an_unhashable_subclass_is_disowned_too(serve):
    class Odd(Client):
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("nobody compares")

    server = serve().start()
    with Odd.connect(server.address, timeout=WAIT) as client:
        assert in_child(lambda: client.closed)
        assert not client.closed
