"""What the server's process takes in memory: by connection, and however much is published."""

import resource
import socket
import subprocess
import sys

import pytest
from conftest import WAIT

FEW, MANY = 1_000, 10_000
PER_CONNECTION_BYTES_MAX = 1024
GIBIBYTE_MESSAGES = 1 << 14
FLAT_BYTES = 512 << 10
"""Kept pages of an allocator, and the like: far less than what was published or queued."""

USED_ONCE = """
import sys, threading
from fastsock import Message, MultiServer

def private():
    with open("/proc/self/smaps_rollup") as lines:
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

server = MultiServer(("127.0.0.1", 0), connections_max=20_000)
used, heard = threading.Condition(), 0

def use(conn, data):
    global heard
    conn.send(data)
    assert conn.peer and conn.stats().messages_received == 1
    with used:
        heard += 1
        used.notify_all()

if sys.argv[1] == "started":
    server.on_message(use)
    server.start()
print(server.address[1], flush=True)
for line in sys.stdin:
    while sys.argv[1] == "inline" and heard < int(line):
        for event in server.poll(timeout=10):
            if isinstance(event, Message):
                use(event.conn, event.data)
    with used:
        assert used.wait_for(lambda: heard >= int(line), timeout=10)
    server.drain(timeout=10)
    print(private(), flush=True)
server.close()
"""

PUBLISH = """
import sys
from fastsock import LogFull, MultiServer

def resident():
    with open("/proc/self/smaps_rollup") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

mode, policy = sys.argv[1:]
server = MultiServer(("127.0.0.1", 0), slow_policy=policy, slow_grace=0.2)
if mode == "started":
    server.start()
print(server.address[1], flush=True)
server.wait_connections(1, timeout=10)
message, timeout = b"x" * 65535, 0 if policy == "block" else None
for line in sys.stdin:
    refused = 0
    for _ in range(int(line)):
        try:
            server.broadcast(message, timeout=timeout)
        except LogFull:
            refused += 1
    assert (refused > 0) == (policy == "block")
    print(resident(), flush=True)
if policy == "drop_oldest":
    assert server.stats().dropped > 16_000
server.close()
"""


@pytest.fixture
def program():
    """Runs a program that is spoken to by lines; it ends with its standard input."""
    running = []

    def run(source, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", source, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(WAIT) == 0


@pytest.fixture
def descriptors():
    """As many descriptors as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ask(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


@pytest.mark.parametrize("mode", ["started", "inline"])
def test_an_idle_connection_that_was_used_takes_less_than_a_kibibyte(program, descriptors, mode):
    process = program(USED_ONCE, mode)
    port = int(process.stdout.readline())
    peers, private = [], []
    # No more at once than the backlog of a server that is not polled meanwhile.
    for count in range(FEW, MANY + 1, FEW):
        while len(peers) < count:
            peers.append(socket.create_connection(("127.0.0.1", port), timeout=WAIT))
            peers[-1].sendall(b"hello\n")
        private.append(ask(process, count))
    for peer in peers:
        peer.close()
    assert (private[-1] - private[0]) / (MANY - FEW) <= PER_CONNECTION_BYTES_MAX


@pytest.mark.parametrize("mode", ["started", "inline"])
@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "block"])
def test_memory_stays_flat_while_a_client_does_not_read(program, mode, policy):
    process = program(PUBLISH, mode, policy)
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT):
        before = ask(process, 1_000)
        assert ask(process, GIBIBYTE_MESSAGES) - before <= FLAT_BYTES
