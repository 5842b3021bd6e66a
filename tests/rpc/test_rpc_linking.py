"""How a stub gets a link: within the call's time, and no thread waits for itself."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from calls import signal_until
from conftest import WAIT, wait_until
from rpc_ends import Server, wait_begun
from rpc_raw import Proxy
from rpc_shop import Shop
from test_rpc_attempts import connect, mute, nothing_has_failed

from fastsock import rpc
from fastsock.rpc.matchmaker.service import Matchmaker

pytest_plugins = ("rpc_fixtures",)

__all__ = ["mute", "nothing_has_failed"]

# ---- One limit for all that connecting takes ----


def test_the_limit_of_connecting_is_for_all_addresses_together(mute, monkeypatch):
    began = time.monotonic()
    with pytest.raises(rpc.Unavailable, match="in time|does not answer"):
        connect(mute(40), monkeypatch, connect_timeout=0.3)
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("form", ["call", "begin", "aio"])
def test_asking_a_silent_matchmaker_takes_no_longer_than_the_call(start, closing, form):
    matchmaker = start(Matchmaker())
    served = start(matchmaker=matchmaker.address)
    shop = rpc.connect(Shop, matchmaker=matchmaker.address, connect_timeout=WAIT)
    closing.enter_context(shop)
    assert shop.add(1, 2) == 3
    link = shop._rpc_connector.link
    address = matchmaker.address
    served.close()
    matchmaker.close()
    link.lose(rpc.ConnectionLost("found here"))
    link.recovered.wait(WAIT)
    with socket.create_server(address), pytest.raises(rpc.RpcError), rpc.deadline(0.2):
        began = time.monotonic()
        try:
            if form == "call":
                shop.add(1, 2)
            elif form == "begin":
                shop.add.begin(1, 2).result()
            else:
                asyncio.run(shop.add.aio(1, 2))
        finally:
            assert time.monotonic() - began < 1.0


def test_connecting_holds_to_the_deadline_around_it(mute):
    began = time.monotonic()
    with pytest.raises(rpc.Unavailable), rpc.deadline(0.1):
        rpc.connect(Shop, mute(1)[0], connect_timeout=WAIT)
    assert time.monotonic() - began < WAIT / 2


# ---- A thread never waits for itself ----


def test_a_done_callback_may_call_when_its_own_call_was_ended_with_its_link(stub):
    """It runs on the thread that has ended it, which is no longer in anybody's way."""
    with Server("rpc_server.py") as process:
        port = process.port
        shop = stub(("127.0.0.1", int(port)), retry=WAIT)
        call = shop.wait.begin("its outcome is not known")
        results = []
        call.add_done_callback(lambda _: results.append(shop.add(1, 2)))
        process.close()
        with Server("rpc_server.py", port):
            wait_until(lambda: results, "the callback has called")
        assert results == [3.0]
        assert type(call.exception()) is rpc.OutcomeUnknown


@pytest.mark.parametrize("form", ["call", "begin"])
def test_a_signal_handler_in_the_middle_of_connecting_is_told_so(start, stub, form):
    server = start()
    told, errors = threading.Event(), []

    def up(pair, data):
        return data if pair is proxy.pairs[0] else b""

    with Proxy(server.address, up=up) as proxy:
        shop = stub(proxy, connect_timeout=WAIT)
        shop.add(1, 2)
        link = shop._rpc_connector.link
        proxy.cut()

        def handler(*_):
            if shop._rpc_connector.linking.turn.mine and not told.is_set():
                try:
                    shop.add(1, 2) if form == "call" else shop.add.begin(1, 2)
                except BaseException as error:
                    errors.append(error)
                told.set()
                shop.close()

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            link.lose(rpc.ConnectionLost("found here"))
            link.recovered.wait(WAIT)
            sender = signal_until(told, signal.SIGUSR1)
            with pytest.raises(rpc.RpcError), rpc.deadline(0.5):
                shop.add(1, 2)
        finally:
            told.set()
            sender.wait_result()
            signal.signal(signal.SIGUSR1, before)
    assert [type(error) for error in errors] == [RuntimeError]
    assert "in the middle of connecting" in str(errors[0])


def test_closing_does_not_wait_for_a_thread_that_connects(start, stub):
    """And what that thread connects in the end is closed at once."""
    server = start()
    hold = threading.Event()

    def up(pair, data):
        if pair is not proxy.pairs[0]:
            hold.wait(WAIT)
        return data

    with Proxy(server.address, up=up) as proxy:
        shop = stub(proxy, connect_timeout=WAIT, retry=WAIT)
        call = shop.wait.begin("one")
        wait_begun(server, "one")
        proxy.cut()
        proxy.wait_connections(2)
        began = time.monotonic()
        shop.close()
        assert isinstance(call.exception(WAIT), rpc.OutcomeUnknown)
        with pytest.raises(rpc.ConnectionLost, match="closed"):
            shop.add(1, 2)
        assert time.monotonic() - began < WAIT / 2
        hold.set()
        wait_until(lambda: server.health()["sessions"] == 0, "no session is left")


# ---- No thread can be started ----

WITHOUT_THREADS = """
import asyncio, os, resource, signal, sys, time, threading
from rpc_shop import Shop
from fastsock import rpc
import concurrent.futures.thread, encodings.idna

server = rpc.serve(Shop(), ("127.0.0.1", 0), linger=0.2)
server.health()

class limited:
    def __enter__(self): resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
    def __exit__(self, *_): resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))

soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
if os.getuid() == 0:
    os.setgroups([])
    os.setresuid(65534, 65534, 65534)
with limited():
    try:
        threading.Thread(target=print).start()
    except RuntimeError:
        pass
    else:
        raise SystemExit("the limit does not hold")

def fails(call, kinds=(rpc.Unavailable, rpc.Overloaded, rpc.OutcomeUnknown, rpc.ConnectionLost)):
    begun = time.monotonic()
    try:
        result = call()
    except kinds:
        assert time.monotonic() - begun < 5.0
    else:
        raise AssertionError(f"it returned {result!r}")

def works(shop):
    assert shop.add(1, 2) == 3
    assert shop.pooled(4) == 4
    assert shop.pooled.begin(5).result(20) == 5
    assert list(shop.tick(3)) == [0, 1, 2]
    assert asyncio.run(shop.pooled.aio(6)) == 6

def lose(shop):
    lost = shop._rpc_connector.link
    lost.client._close(0.0)
    return lost
"""


@pytest.fixture
def without_threads():
    """Runs a program, which may forbid its process to start threads, with a server in it."""

    def run(program):
        tests = Path(__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": f"{tests / 'support'}:{tests}:{tests.parent}"}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_THREADS + program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * WAIT,
        )
        assert (done.returncode, done.stderr) == (0, "")

    return run


def test_calls_without_threads_end_at_once_and_later_everything_works(without_threads):
    without_threads("""
with rpc.connect(Shop, server.address, timeout=60) as shop:
    with limited():
        assert shop.add(1, 2) == 3
        fails(lambda: shop.pooled(4))
        fails(lambda: shop.pooled.begin(4))
        fails(lambda: asyncio.run(shop.add.aio(4, 5)))
        assert shop.add(1, 2) == 3
    works(shop)
server.close()
""")


def test_a_link_that_is_lost_without_threads_is_made_again(without_threads):
    without_threads("""
with rpc.connect(Shop, server.address, timeout=60) as shop:
    with limited():
        lose(shop)
        fails(lambda: shop.add(1, 2))
        assert shop.add(1, 2) == 3, "it has connected again"
        lose(shop)
        fails(lambda: asyncio.run(shop.add.aio(1, 2)))
    works(shop)
with rpc.connect(Shop, server.address, timeout=60) as shop:
    begun = shop.wait.begin("no thread recovers it")
    awaited = []
    shop.wait.begin("nor that").add_done_callback(awaited.append)
    with limited():
        lose(shop)
        fails(lambda: begun.result(20))
        fails(lambda: awaited[0].result(0))
    works(shop)
server.close()
""")


def test_what_a_draining_server_refuses_without_threads_ends_at_once(without_threads):
    without_threads("""
from fastsock.rpc.matchmaker.service import Matchmaker
matchmaker = rpc.serve(Matchmaker(), ("127.0.0.1", 0), linger=0.2)
one = rpc.serve(Shop(), ("127.0.0.1", 0), linger=0.2, matchmaker=matchmaker.address)
with rpc.connect(Shop, matchmaker=matchmaker.address, timeout=60) as shop:
    works(shop)
    two = rpc.serve(Shop(), ("127.0.0.1", 0), linger=0.2, matchmaker=matchmaker.address)
    with limited():
        one.drain()
        fails(lambda: shop.add(1, 2))
    until = time.monotonic() + 20
    while time.monotonic() < until:  # What the matchmaker said last holds for a moment.
        try:
            shop.add(1, 2)
            break
        except rpc.Unavailable:
            pass
    works(shop)
for each in one, two, matchmaker, server:
    each.close()
""")
