"""Stubs and what belongs to them, dropped without a close: nothing outlives them."""

import asyncio
import gc
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import WAIT, open_descriptors, wait_until
from rpc_ends import wait_begun, wait_running
from rpc_raw import Proxy
from rpc_shop import Shop

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)


def own_threads():
    """Those of stubs."""
    names = ("fastsock.rpc_read", "fastsock.rpc_write", "fastsock.rpc recovery")
    return [each for each in threading.enumerate() if each.name.startswith(names)]


def collect_stubs():
    """A thread that is in the middle of its work holds what it works for: once more, then."""
    wait_until(lambda: gc.collect() >= 0 and not own_threads(), "the threads of stubs end")


def plain(shop, server):
    assert shop.add(1, 2) == 3


def begun(shop, server):
    shop.wait.begin("dropped")
    wait_begun(server, "dropped")


def begun_and_quiet(shop, server):
    shop.wait.begin("dropped")
    assert shop.pooled.begin(3).result(WAIT) == 3


def stream(shop, server):
    for item in shop.count(10**6):
        assert item == (0, b"")
        break


def awaited(shop, server):
    assert asyncio.run(shop.pooled.aio(3)) == 3


def awaited_stream(shop, server):
    async def read():
        async for number in shop.tick.aio(10**6):
            return number
        return None

    assert asyncio.run(read()) == 0


def cancelled(shop, server):
    async def cancel():
        task = asyncio.create_task(shop.wait.aio("dropped"))
        while not server.service.begun:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


FORMS = [plain, begun, begun_and_quiet, stream, awaited, awaited_stream, cancelled]


@pytest.mark.parametrize("use", FORMS, ids=lambda use: use.__name__)
def test_a_stub_that_is_dropped_leaves_nothing(start, use):
    server = start()
    before = open_descriptors()
    shop = rpc.connect(Shop, server.address)
    use(shop, server)
    with pytest.warns(ResourceWarning, match="a stub of .*Shop was dropped and not closed"):
        del shop
        collect_stubs()
    wait_running(server, 0)
    server.close()
    wait_until(lambda: not open_descriptors() - before, "its descriptors are closed")


def test_a_call_that_is_held_keeps_its_stub(start):
    server = start()
    shop = rpc.connect(Shop, server.address)
    call = shop.wait.begin("held")
    wait_begun(server, "held")
    del shop
    gc.collect()
    server.service.gate.set()
    assert call.result(WAIT) == "held"
    with pytest.warns(ResourceWarning, match="dropped"):
        del call
        collect_stubs()


def test_a_method_that_is_held_keeps_its_stub(start):
    add = rpc.connect(Shop, start().address).add
    gc.collect()
    assert add(1, 2) == 3
    with pytest.warns(ResourceWarning, match="dropped"):
        del add
        collect_stubs()


def test_a_callback_that_nobody_holds_is_called(start):
    server = start()
    heard = []
    shop = rpc.connect(Shop, server.address)
    shop.wait.begin("one").add_done_callback(heard.append)
    wait_begun(server, "one")
    del shop
    gc.collect()
    server.service.gate.set()
    wait_until(lambda: heard, "it is called")
    assert heard.pop().result() == "one"
    with pytest.warns(ResourceWarning, match="dropped"):
        collect_stubs()


def test_a_task_that_nobody_holds_is_woken(start):
    """As one that waits for a socket is."""
    server = start()
    heard = []

    async def use():
        async def call():
            heard.append(await rpc.connect(Shop, server.address).wait.aio("one"))

        asyncio.get_running_loop().call_soon(asyncio.ensure_future, call())
        while not server.service.begun:
            await asyncio.sleep(0.001)
        gc.collect()
        server.service.gate.set()
        while not heard:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(use(), WAIT))
    assert heard == ["one"]
    with pytest.warns(ResourceWarning, match="dropped"):
        collect_stubs()


def test_a_stub_whose_server_has_gone_warns_of_nothing(start, recwarn):
    server = start()
    with Proxy(server.address) as proxy:
        shop = rpc.connect(Shop, proxy.address, retry=0)
        link = shop._rpc_connector.link
        server.close()
        proxy.cut()
        with pytest.raises(rpc.RpcError):
            shop.add(1, 2)
        link.recovered.wait(WAIT)
        del shop, link
        gc.collect()
    assert not [each for each in recwarn if each.category is ResourceWarning]


def test_what_is_dropped_by_a_thread_that_holds_a_lock_of_its_link(start, stub):
    server = start()
    shop = stub(server)
    link = shop._rpc_connector.link
    for lock in link.lock, link.endings.lock, link.sender.lock:
        reader = shop.count(10**6)
        assert next(reader) == (0, b"")
        wait_running(server, 1)
        other = [rpc.connect(Shop, server.address)]
        other[0].pooled.begin(1).result(WAIT)
        with lock, pytest.warns(ResourceWarning):
            del reader
            other.clear()
            gc.collect()
        wait_running(server, 0)
        assert shop.add(1, 2) == 3


@pytest.mark.parametrize("form", ["plain", "begun", "stream", "awaited"])
def test_a_program_that_ends_with_an_open_stub_says_nothing(start, form):
    program = f"""
import asyncio
from rpc_shop import Shop
from fastsock import rpc
shop = rpc.connect(Shop, ("127.0.0.1", {start().address[1]}))
if {form!r} == "plain": shop.add(1, 2)
if {form!r} == "begun": call = shop.wait.begin("one")
if {form!r} == "stream": reader = shop.count(1000000); next(reader)
if {form!r} == "awaited": asyncio.run(shop.pooled.aio(1))
"""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests / 'support'}:{tests}:{tests.parent}"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=2 * WAIT
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# ---- Servers ----


def of_servers():
    return [each for each in threading.enumerate() if each.name.startswith("fastsock")]


@pytest.mark.parametrize("use", ["nothing", "calls", "a running call", "a stream", "a coroutine"])
def test_a_server_that_is_dropped_leaves_nothing(use, caplog):
    before, service = open_descriptors(), Shop()
    server = rpc.serve(service, linger=0.2)
    with rpc.connect(Shop, server.address, retry=0) as shop:
        if use == "calls":
            assert (shop.add(1, 2), shop.pooled(3)) == (3, 3)
        elif use == "a running call":
            shop.wait.begin("dropped")
            wait_until(lambda: service.begun, "it has begun")
        elif use == "a stream":
            reader = shop.count(10**6)
            assert next(reader) == (0, b"")
        elif use == "a coroutine":
            reader = shop.tick(10**6)
            assert next(reader) == 0
        with pytest.warns(ResourceWarning, match="rpc.Server .*Shop.* was dropped and not closed"):
            del server
            gc.collect()
        wait_until(lambda: "it closes now" in caplog.text, "it says so")
        if use in ("a stream", "a coroutine"):
            reader.close()
    wait_until(lambda: not of_servers(), "its threads end")
    wait_until(lambda: not open_descriptors() - before, "its descriptors are closed")


def test_a_server_that_is_dropped_while_a_lock_is_held(start):
    """By a thread that is in the middle of asking its keeper for something."""
    server = rpc.serve(Shop(), linger=0.2)
    keeper = server._keeper
    with rpc.connect(Shop, server.address) as shop, pytest.warns(ResourceWarning):
        assert shop.add(1, 2) == 3
        with server._sessions._lock:
            del server
            gc.collect()
            keeper.look()
    wait_until(lambda: not of_servers(), "its threads end")


def test_a_server_that_is_waited_for_is_not_dropped():
    said = queue.SimpleQueue()

    def serve(close):
        server = rpc.serve(Shop(), linger=0.2)
        said.put(server.address)
        while not server.wait(0.01):
            if close.is_set():
                server.close()

    close = threading.Event()
    waiting = threading.Thread(target=serve, args=(close,))
    waiting.start()
    with rpc.connect(Shop, said.get(timeout=WAIT)) as shop:
        gc.collect()
        assert shop.add(1, 2) == 3
    close.set()
    waiting.join(WAIT)
    assert not waiting.is_alive()


def test_a_program_that_ends_with_an_open_server_says_nothing():
    program = """
from rpc_shop import Shop
from fastsock import rpc
server = rpc.serve(Shop())
with rpc.connect(Shop, server.address) as shop:
    shop.add(1, 2)
    shop.pooled(1)
"""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests / 'support'}:{tests}:{tests.parent}"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=2 * WAIT
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
