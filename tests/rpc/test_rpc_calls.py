"""fastsock.rpc: calls, begun calls, coroutines, threads and one-way calls, through real sockets."""

import asyncio
import logging
import sys
import threading

import pytest
from conftest import WAIT, wait_until
from rpc_ends import wait_running

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)


# ---- Three forms ----


def test_the_three_forms_of_a_call_agree(start, stub):
    shop = stub(start())
    assert shop.add(1, 2) == 3
    assert shop.add.begin(1, 2).result(WAIT) == 3
    assert asyncio.run(shop.add.aio(1, 2)) == 3


@pytest.mark.parametrize(
    "args, kwargs, result",
    [((5,), {}, 6), ((), {"a": 5}, 6), ((), {"b": 2, "a": 1}, 3), ((1,), {"b": 4}, 5)],
)
def test_keyword_and_default_arguments(start, stub, args, kwargs, result):
    shop = stub(start())
    assert shop.add(*args, **kwargs) == result
    assert shop.add.begin(*args, **kwargs).result(WAIT) == result


@pytest.mark.parametrize(
    "args, kwargs, says",
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional"),
        ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
    ],
)
def test_arguments_that_do_not_bind_are_a_type_error_that_sends_nothing(
    start, stub, args, kwargs, says
):
    shop = stub(start())
    with pytest.raises(TypeError, match=r"add\(\).*" + says):
        shop.add(*args, **kwargs)


def test_answers_come_in_any_order(start, stub):
    server = start()
    shop = stub(server)
    slow = shop.wait.begin("slow")
    assert [shop.add(n, 0) for n in range(5)] == list(range(5))
    assert not slow.done()
    server.service.gate.set()
    assert slow.result(WAIT) == "slow"
    assert slow.done() and not slow.cancelled() and slow.exception() is None


def test_a_slow_call_holds_up_nobody(start, stub):
    """Calls that need one another's presence end, so as many run at a time."""
    server = start()
    shop = stub(server)
    shop.pooled(0)  # A thread of the pool is idle from now on.
    for parties in 2, 8, 16:
        server.service.barrier = threading.Barrier(parties)
        calls = [shop.meet.begin(number) for number in range(parties)]
        assert [call.result(WAIT) for call in calls] == list(range(parties))


def test_waiting_for_a_result_can_end_before_the_call(start, stub):
    server = start()
    call = stub(server).wait.begin("slow")
    with pytest.raises(TimeoutError, match="wait has not ended after 0.05 s"):
        call.result(0.05)
    assert not call.done()
    server.service.gate.set()
    assert call.result(WAIT) == "slow"


def test_several_threads_wait_for_one_call(start, stub):
    server = start()
    call = stub(server).wait.begin("slow")
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(call.result(WAIT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    with pytest.raises(TimeoutError):
        call.result(0.05)
    server.service.gate.set()
    for thread in threads:
        thread.join(WAIT)
    assert results == ["slow"] * 4


def test_callbacks_run_once_and_their_errors_are_logged(start, stub, caplog):
    server = start()
    shop = stub(server)
    call, seen = shop.wait.begin("called back"), []

    def fails(call):
        raise ValueError("of a callback")

    call.add_done_callback(fails)
    call.add_done_callback(seen.append)
    server.service.gate.set()
    wait_until(lambda: seen, "the callback runs, though nobody waits for the call")
    call.add_done_callback(seen.append)
    assert seen == [call, call]
    assert "a callback of wait failed" in caplog.text


# ---- asyncio ----


def test_coroutines_call_at_the_same_time(start, stub):
    shop = stub(start())

    async def many():
        return await asyncio.gather(*(shop.add.aio(n, 1) for n in range(2000)))

    assert asyncio.run(many()) == [n + 1 for n in range(2000)]


def test_a_call_that_was_begun_can_be_awaited(start, stub):
    shop = stub(start())

    async def wait():
        call = shop.sleep.begin(0.01, "begun")
        return await call, await call

    assert asyncio.run(wait()) == ("begun", "begun")


def test_a_coroutine_is_answered_while_a_thread_waits(start, stub):
    """The thread reads for both; its own answer comes after the coroutine's."""
    server = start()
    shop = stub(server)
    blocked = threading.Thread(target=shop.wait, args=("blocked",))
    blocked.start()
    wait_running(server, 1)

    async def call():
        return await asyncio.wait_for(shop.add.aio(1, 2), WAIT)

    assert asyncio.run(call()) == 3
    assert blocked.is_alive()
    server.service.gate.set()
    blocked.join(WAIT)


def test_a_coroutine_is_answered_after_the_thread_that_read_has_left(start, stub):
    server = start()
    shop = stub(server)
    blocked = threading.Thread(target=shop.wait, args=("blocked",))
    blocked.start()
    wait_running(server, 1)

    async def call():
        task = asyncio.create_task(shop.meet.aio(7))
        while server.health()["running"] < 2:
            await asyncio.sleep(0.001)
        server.service.gate.set()
        await asyncio.to_thread(blocked.join, WAIT)
        await asyncio.to_thread(server.service.barrier.wait, WAIT)
        return await asyncio.wait_for(task, WAIT)

    server.service.barrier = threading.Barrier(2)
    assert asyncio.run(call()) == 7


def test_two_event_loops_share_a_stub(start, stub):
    shop = stub(start())
    results: list[int] = []

    async def some():
        for n in range(100):
            results.append(await shop.pooled.aio(n))

    threads = [threading.Thread(target=asyncio.run, args=(some(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(results) == sorted([*range(100)] * 2)


# ---- Threads ----


def test_threads_share_a_stub(start, stub):
    shop = stub(start())
    wrong: list[object] = []

    def work(base):
        for n in range(base, base + 200):
            if shop.pooled(n) != n or shop.add(n, 1) != n + 1:
                wrong.append(n)
            if n % 3 == 0 and shop.pooled.begin(n).result(WAIT) != n:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()
    assert not wrong


@pytest.fixture
def hasty():
    """Threads are switched as often as can be, so that races are lost soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_hand_over_is_missed(start, stub, hasty):
    """Two calls at the same moment: who reads for both and leaves wakes the other one."""
    shop = stub(start())
    barrier = threading.Barrier(3)
    rounds = 300

    def call(form):
        for n in range(rounds):
            barrier.wait(WAIT)
            assert form(n) == n
            barrier.wait(WAIT)

    def awaited(n):
        return asyncio.run(asyncio.wait_for(shop.pooled.aio(n), WAIT))

    forms = [shop.pooled, lambda n: int(shop.add(n, 0)), awaited]
    threads = [threading.Thread(target=call, args=(form,), daemon=True) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a call waits that nobody reads for"


def test_begun_calls_with_deadlines_beside_threads(start, stub, hasty):
    """Ends of attended calls, seen by threads, while the attendant looks at their deadlines."""
    shop = stub(start(), timeout=WAIT)
    done: list[rpc.Call] = []

    def begin():
        for n in range(400):
            shop.add.begin(n, 0).add_done_callback(done.append)

    def call():
        for n in range(200):
            assert shop.add(n, 0) == n

    threads = [threading.Thread(target=work) for work in (begin, begin, call, call)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    wait_until(lambda: len(done) == 800, "all callbacks have run")
    assert all(call.exception() is None for call in done)


# ---- One-way ----


def test_oneway_calls_return_nothing_and_run_in_their_turn(start, stub):
    server = start()
    shop = stub(server)
    assert shop.log("one") is None
    assert shop.log.begin("two").result(WAIT) is None
    assert asyncio.run(shop.log.aio("three")) is None
    wait_until(lambda: len(server.service.begun) == 3, "all three have run")
    assert sorted(server.service.begun) == ["one", "three", "two"]


def test_oneway_calls_wait_for_nothing_below_calls_max(start, stub):
    server = start()
    shop = stub(server)
    for _ in range(500):
        shop.log_slowly("line")  # None of them can end.
    assert server.service.begun == []
    server.service.gate.set()
    wait_until(lambda: len(server.service.begun) == 500, "all calls have run")


def test_a_flood_of_oneway_calls_loses_none(start, stub):
    server = start(calls_max=64)
    shop = stub(server)
    for _ in range(3000):
        shop.log("line")
    wait_until(lambda: len(server.service.begun) == 3000, "all calls have run")


def test_errors_of_oneway_calls_are_logged_by_the_server(start, stub, caplog):
    shop = stub(start())
    with caplog.at_level(logging.ERROR, "fastsock"):
        shop.log("raise")
        wait_until(lambda: "Shop.log failed, call 1 of" in caplog.text, "the error is logged")
    assert "ValueError: raise" in caplog.text
    assert shop.add(1, 1) == 2
