"""Stubs in forked children: the parent keeps its connection, a child makes its own."""

import subprocess
import sys

PROGRAM = """
import asyncio, os, sys, threading
from collections.abc import Iterator
from fastsock import rpc

class Counter(rpc.Service):
    def __init__(self):
        self.release = threading.Event()

    @rpc.method(inline=True)
    def add(self, a: int, b: int) -> int:
        return a + b

    @rpc.method
    def hold(self) -> int:
        self.release.wait(60)
        return 7

    @rpc.method
    def count(self) -> Iterator[int]:
        yield from iter(self.release.wait, True)

def call(start, end):
    for i in range(start, end):
        assert stub.add(i, 1) == i + 1

def refused(use):
    try:
        use()
    except rpc.ConnectionLost as error:
        return "begun by the process that forked this one" in str(error)

async def awaited():
    return await asyncio.gather(*(stub.add.aio(i, i) for i in range(20)))

def child():
    assert refused(held.result) and refused(lambda: next(stream))
    call(0, 100)
    assert stub.add.begin(3, 4).result() == 7
    assert asyncio.run(awaited()) == [2 * i for i in range(20)]
    stub.close()
    server.close()
    return 0

def fork():
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = child()
        finally:
            os._exit(status)
    return pid

def hammer():
    while not service.release.is_set():
        call(0, 100)
    done.append(True)

service, done = Counter(), []
with rpc.serve(service, ("127.0.0.1", 0)) as server:
    stub = rpc.connect(Counter, server.address)
    held, stream = stub.hold.begin(), stub.count()
    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = [fork() for _ in range(6)]
    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    service.release.set()
    assert held.result(60) == 7
    for thread in threads:
        thread.join(60)
    stub.close()
sys.exit(ended != [0] * 6 or len(done) != 3)
"""


def test_children_call_over_links_of_their_own_and_the_parent_goes_on():
    # Python warns of forking with threads, which is just what is done here.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
