"""fastsock.rpc: what a caller leaves is ended, and what it has handed over is done."""

import asyncio
import gc
import threading
import time
import warnings

import pytest
from conftest import WAIT, wait_until
from rpc_ends import Server, wait_running
from rpc_raw import CALL, ITEM, LyingServer, RawClient, frame, pack, server_hello
from rpc_shop import Shop

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

PLACES = 3


def leave_by_break(shop):
    for number, _ in shop.count(10**9):
        if number == 3:
            break


def leave_by_exception(shop):
    with pytest.raises(KeyError):
        for _ in shop.count(10**9):
            raise KeyError


def leave_by_dropping(shop):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        next(shop.count(10**9))


def leave_async_for(shop):
    async def read():
        async for number, _ in shop.count.aio(10**9):
            if number == 3:
                break

    asyncio.run(read())


def leave_async_with(shop):
    async def read():
        async with shop.count.aio(10**9) as stream:
            await anext(stream)

    asyncio.run(read())


@pytest.mark.parametrize(
    "leave",
    [leave_by_break, leave_by_exception, leave_by_dropping, leave_async_for, leave_async_with],
)
def test_leaving_a_stream_closes_the_generator_and_frees_its_place(start, stub, leave):
    server = start(calls_max=PLACES)
    shop = stub(server, timeout=WAIT)
    for _ in range(3 * PLACES):
        leave(shop)
    wait_until(lambda: len(server.service.ended) == 3 * PLACES, "each finally has run")
    wait_running(server, 0)
    assert shop.add(1, 2) == 3


def test_a_stream_in_a_cycle_that_is_dropped_ends(start, stub):
    server = start()
    stream = iter(stub(server).count(10**9))
    next(stream)
    cycle = [stream]
    cycle.append(cycle)
    del stream, cycle
    gc.collect()
    wait_until(lambda: server.service.ended == ["count"], "its finally has run")


def test_a_stream_that_is_dropped_outside_a_loop_is_told_so(start, stub):
    shop = stub(start())
    stream = shop.count(10**9)
    next(stream)
    with pytest.warns(ResourceWarning, match="a stream of count was dropped"):
        del stream


def test_a_call_that_gets_no_place_ends(start, stub):
    shop = stub(start(calls_max=PLACES), place_timeout=0.2)
    streams = [shop.count.begin(10**9) for _ in range(PLACES)]
    for call in (lambda: shop.add(1, 2), lambda: asyncio.run(shop.add.aio(1, 2))):
        with pytest.raises(rpc.Overloaded, match=f"calls_max = {PLACES}"):
            call()
    with rpc.deadline(0.1), pytest.raises(rpc.DeadlineExceeded):
        shop.add(1, 2)
    streams.pop().close()
    assert shop.add(1, 2) == 3
    for stream in streams:
        stream.close()


def test_one_way_calls_run_though_the_stub_is_closed_at_once(start):
    server = start()
    for _ in range(20):
        with rpc.connect(Shop, server.address) as shop:
            for number in range(6):
                shop.log(f"{number}")
    wait_until(lambda: len(server.service.begun) == 120, "all have run")


def test_one_way_calls_of_many_bytes_and_without_a_place_run(start):
    server = start(calls_max=2)
    with rpc.connect(Shop, server.address) as shop:
        for _ in range(8):
            shop.log("x" * 3_000_000)
    wait_until(lambda: len(server.service.begun) == 8, "all have run")


def test_a_one_way_call_that_runs_when_the_stub_closes_is_not_cut(start):
    server = start()
    with rpc.connect(Shop, server.address) as shop:
        shop.log_slowly("slow")
        wait_running(server, 1)
    server.service.gate.set()
    wait_until(lambda: server.service.begun == ["slow"], "it has ended")


@pytest.mark.parametrize("form", ["call", "await", "begin"])
def test_deadlines_hold_while_the_server_stands_still(stub, form):
    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)), timeout=1.0, keepalive=0.2)
        shop.add(1, 2)
        process.stop()
        call = {
            "call": lambda: shop.add(1, 2),
            "await": lambda: asyncio.run(shop.add.aio(1, 2)),
            "begin": lambda: shop.add.begin(1, 2).result(),
        }[form]
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(rpc.DeadlineExceeded):
                call()
            assert time.monotonic() - begun < 4.0
        process.resume()


def test_items_beyond_the_credit_end_the_connection(start, stub):
    with RawClient(start().address) as client:
        infos = client.methods

    def script(peer, turn):
        peer.hear()
        peer.say(server_hello(infos))
        while (call := peer.hear()) is not None:
            if call.kind == CALL:
                peer.say(frame(ITEM, call.call, pack([1, b""])) * 1000)

    with LyingServer(script) as liar:
        shop = stub(liar, retry=0.1, timeout=WAIT)
        stream = shop.count.begin(10)
        with pytest.raises(rpc.ConnectionLost, match="beyond its credit"):
            shop.pooled.begin(1).exception(WAIT)
            for _ in stream:
                time.sleep(0)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
def test_what_a_callback_raises_is_logged_and_calls_go_on(start, stub, caplog, error):
    server = start()
    shop = stub(server)

    def fails(call):
        raise error

    for _ in range(2):
        ended = threading.Event()
        call = shop.pooled.begin(1)
        call.add_done_callback(fails)
        call.add_done_callback(lambda _, ended=ended: ended.set())
        assert ended.wait(WAIT)
    assert "a callback of pooled failed" in caplog.text


def test_a_callback_that_would_wait_for_its_own_thread_is_refused(start, stub):
    server = start()
    shop = stub(server)
    failed = []

    def waits(call):
        try:
            shop.add(1, 2)
        except RuntimeError as error:
            failed.append(str(error))

    call = shop.wait.begin("one")
    call.add_done_callback(waits)
    server.service.gate.set()
    wait_until(lambda: failed, "it is refused")
    assert "in the middle of reading" in failed[0]
    assert shop.add(1, 2) == 3


def test_a_stub_that_lost_its_connection_without_a_thread_connects_later(start, stub, monkeypatch):
    shop = stub(start())
    shop.add(1, 2)
    lost = shop._rpc_connector.link

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        lost.client._close(0.0)
        with pytest.raises(rpc.RpcError):
            shop.add(1, 2)
    assert shop.add(1, 2) == 3
    assert shop.pooled.begin(4).result(WAIT) == 4


async def refuses(call):
    raise PermissionError


def test_what_would_never_run_is_refused(start, stub):
    server = start()
    with pytest.raises(TypeError, match="not async"):
        rpc.connect(Shop, server.address, interceptors=[refuses])
    with pytest.raises(TypeError, match="not callable"):
        rpc.connect(Shop, server.address, interceptors=[3])
    call = stub(server).pooled.begin(1)
    with pytest.raises(TypeError, match="not async"):
        call.add_done_callback(refuses)
    assert call.result() == 1


class Wide(rpc.Service):
    rate = 3

    @rpc.method
    def add(self, a: int, b: int) -> int:
        return a + b

    def helper(self) -> int:
        return 1

    @property
    def size(self) -> int:
        return 1


@pytest.mark.parametrize("name", ["rate", "helper", "size"])
def test_what_is_not_marked_is_not_there_on_a_stub(start, stub, name):
    wide = stub(start(Wide()), Wide)
    with pytest.raises(AttributeError, match=f"Wide.{name} .*@rpc.method is missing"):
        getattr(wide, name)
    assert wide.add(1, 2) == 3
    assert isinstance(wide, Wide)
