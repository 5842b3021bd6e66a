"""fastsock.rpc: no call runs twice, whatever dies in the middle of it."""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from conftest import WAIT, wait_until
from rpc_ends import Server
from rpc_ledger import Ledger
from rpc_raw import CALL, REPLY, LyingServer, Proxy, RawClient, frame, pack, server_hello

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

METHODS = ("append", "append_inline", "append_task")


class Clients:
    """Threads and a coroutine that append entries, each its own, until they are told to stop."""

    def __init__(self, ledger: Ledger, paddings: tuple[int, ...] = (0,)) -> None:
        self.ledger = ledger
        self.paddings = paddings
        self.stopped = threading.Event()
        self.returned: list[str] = []
        self.failed: dict[str, Exception] = {}
        works = [self.call, self.call, self.begin, lambda name: asyncio.run(self.gather(name))]
        self.threads = [
            threading.Thread(target=work, args=(f"client {number}",))
            for number, work in enumerate(works)
        ]
        for thread in self.threads:
            thread.start()

    def entries(self, name):
        """The next entry with the method and the padding for it, until the end."""
        number = 0
        while not self.stopped.is_set():
            number += 1
            padding = bytes(self.paddings[number % len(self.paddings)])
            yield f"{name} entry {number}", METHODS[number % 3], padding

    def note(self, entry, outcome):
        if isinstance(outcome, Exception):
            self.failed[entry] = outcome
        else:
            assert outcome == entry, "the answer of another call"
            self.returned.append(entry)

    def call(self, name):
        for entry, method, padding in self.entries(name):
            try:
                assert self.ledger.look(entry, padding) == entry
                self.note(entry, getattr(self.ledger, method)(entry, padding))
            except rpc.RpcError as error:
                self.note(entry, error)

    def begin(self, name):
        batch = []
        for entry, method, padding in self.entries(name):
            try:
                batch.append((entry, getattr(self.ledger, method).begin(entry, padding)))
            except rpc.RpcError as error:
                self.note(entry, error)
            if len(batch) == 20:
                for begun, call in batch:
                    self.note(begun, call.exception(4 * WAIT) or call.result())
                batch.clear()
        for begun, call in batch:
            self.note(begun, call.exception(4 * WAIT) or call.result())

    async def gather(self, name):
        async def one(entry, method, padding):
            try:
                self.note(entry, await getattr(self.ledger, method).aio(entry, padding))
            except rpc.RpcError as error:
                self.note(entry, error)

        batch = []
        for each in self.entries(name):
            batch.append(one(*each))
            if len(batch) == 10:
                await asyncio.gather(*batch)
                batch.clear()
        await asyncio.gather(*batch)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(4 * WAIT)
            assert not thread.is_alive(), "a call never ends"


def assert_once(path: Path, clients: Clients) -> None:
    """Nothing twice, and all that returned is there."""
    written = Counter(path.read_text().splitlines())
    assert [entry for entry, times in written.items() if times > 1] == []
    assert [entry for entry in clients.returned if entry not in written] == []
    assert max(Counter(clients.returned).values()) == 1
    assert set(written) <= set(clients.returned) | set(clients.failed)


def test_a_server_that_is_killed_and_restarted_runs_no_call_twice(stub, tmp_path):
    path = tmp_path / "ledger"
    process = Server("rpc_ledger.py", "0", str(path))
    port = process.port
    clients = None
    try:
        ledger = stub(("127.0.0.1", int(port)), Ledger, retry=WAIT)
        clients = Clients(ledger, (0, 100, 90_000))
        for _ in range(8):
            before = len(clients.returned)
            wait_until(lambda n=before: len(clients.returned) > n + 100, "calls return")
            process.close()
            process = Server("rpc_ledger.py", port, str(path))
        before = len(clients.returned)
        wait_until(lambda: len(clients.returned) > before + 100, "calls return in the end")
    finally:
        if clients is not None:
            clients.stop()
        process.close()
    assert_once(path, clients)
    kinds = {type(error) for error in clients.failed.values()}
    assert kinds <= {rpc.OutcomeUnknown, rpc.Unavailable, rpc.ConnectionLost}
    looks = [error for error in clients.failed.values() if type(error) is rpc.ConnectionLost]
    assert all("look" in str(error) for error in looks)


HELLO_BYTES = 3000
"""More than a hello has; connect() itself does not try again, so the first one is spared."""


class Cutter:
    """Cuts each connection of a proxy after so many bytes, in the middle of whatever it is."""

    def __init__(self, seed: int, least: int, most: int) -> None:
        self.random = random.Random(seed)
        self.limits = least, most
        self.left: dict[tuple[int, str], int] = {}

    def take(self, pair, direction, data):
        key = id(pair), direction
        spared = HELLO_BYTES if len(self.left) < 2 else 0
        left = self.left.setdefault(key, spared + self.random.randrange(*self.limits))
        self.left[key] = left - len(data)
        if left >= len(data):
            return data
        other = pair.client if direction == "down" else pair.server
        other.sendall(data[:left])
        return None

    def up(self, pair, data):
        return self.take(pair, "up", data)

    def down(self, pair, data):
        return self.take(pair, "down", data)


CUTS = [((0, 50), (300, 6000), 100), ((0, 90_000), (100_000, 6_000_000), 25)]
"""Paddings of the calls, from how many to how many bytes a connection has, and how many of them."""


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("paddings, limits, count", CUTS, ids=["short", "long"])
def test_connections_that_are_cut_at_any_byte_lose_no_call(
    start, stub, tmp_path, seed, paddings, limits, count
):
    """The server lives, so sessions resume: each call runs once, and all succeed."""
    path = tmp_path / "ledger"
    cutter = Cutter(seed, *limits)
    with closing(Ledger(str(path))) as service:
        server = start(service)
        with Proxy(server.address, up=cutter.up, down=cutter.down) as proxy:
            ledger = stub(proxy, Ledger, retry=WAIT)
            clients = Clients(ledger, paddings)
            try:
                proxy.wait_connections(count)
            finally:
                clients.stop()
        assert clients.failed == {}
        assert_once(path, clients)
        assert len(path.read_text().splitlines()) == len(clients.returned)
        server.close()


def test_a_call_that_has_run_is_not_new_if_the_next_link_dies_at_once(start, stub):
    """The second link is reset behind its hello, so that nothing can be sent on it."""
    with RawClient(start().address) as client:
        infos = client.methods
    heard = []

    def script(peer, turn):
        peer.hear()
        peer.say(server_hello(infos, resumed=turn > 0, highest=turn and heard[0].call))
        if turn == 1:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sock.close()
            return
        while (call := peer.hear()) is not None and call.kind != CALL:
            pass
        heard.append(call)
        if turn > 1:
            peer.say(frame(REPLY, call.call, pack(7)))
            peer.hear()

    with LyingServer(script) as server:
        assert stub(server).pooled(7) == 7
    assert [(call.call, call.payload) for call in heard] == [(1, pack([7])), (1, b"")]
