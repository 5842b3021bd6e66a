"""fastsock.rpc: every form of call, through real sockets."""

import asyncio
import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, runtime_checkable

import pytest
from conftest import WAIT, wait_until
from rpc_ends import wait_running
from rpc_shop import Locked, Overdrawn, Shop

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
        wait_until(lambda: "oneway method log failed" in caplog.text, "the error is logged")
    assert "ValueError: raise" in caplog.text
    assert shop.add(1, 1) == 2


# ---- Streams ----


def numbers(items):
    return [number for number, _ in items]


def test_a_stream_comes_whole_and_in_order(start, stub):
    shop = stub(start())
    assert numbers(shop.count(2000)) == list(range(2000))
    assert list(shop.count(0)) == []


def test_streams_in_coroutines(start, stub):
    shop = stub(start())

    async def collect():
        ticks = [n async for n in shop.tick.aio(2000)]
        return ticks, [n async for n, _ in shop.count.aio(300)]

    assert asyncio.run(collect()) == (list(range(2000)), list(range(300)))


def test_a_stream_of_a_coroutine_is_read_by_for(start, stub):
    assert list(stub(start()).tick(600)) == list(range(600))


def test_a_stream_runs_no_further_than_its_credit(start, stub):
    server = start()
    shop = stub(server)
    stream = iter(shop.count(100_000))
    next(stream)
    wait_until(lambda: len(server.service.begun) >= 256, "the credit is used up")
    assert shop.add(1, 1) == 2  # The server has been here since.
    assert len(server.service.begun) <= 256 + 1
    stream.close()


def test_slow_readers_hold_up_nobody_and_no_thread(start, stub):
    """More streams stand still than the pool has threads; other calls run."""
    server = start(threads_max=2)
    shop = stub(server)
    streams = [iter(shop.count(5000, size=1000)) for _ in range(8)]
    assert [next(stream)[0] for stream in streams] == [0] * 8
    assert shop.pooled(3) == 3
    assert [numbers(stream) for stream in streams] == [list(range(1, 5000))] * 8


def test_closing_a_stream_early_ends_the_generator(start, stub):
    server = start()
    shop = stub(server)
    with shop.count.begin(1_000_000) as stream:
        assert next(stream)[0] == 0
    wait_until(lambda: server.service.ended == ["count"], "its finally has run")
    wait_running(server, 0)
    assert server.service.contexts[0].cancelled
    ticks = shop.tick.begin(1_000_000)
    assert next(ticks) == 0
    ticks.close()
    wait_until(lambda: server.service.ended == ["count", "tick"], "its finally has run")
    wait_running(server, 0)


def test_an_exception_in_the_middle_comes_after_the_items_before_it(start, stub):
    stream = iter(stub(start()).count(10, fail_at=3))
    assert [next(stream)[0] for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(rpc.RemoteError, match="Overdrawn: 3"):
            next(stream)


def test_a_stream_of_large_items(start, stub):
    size = 300_000
    server = start()
    for number, (index, data) in enumerate(stub(server).count(20, size=size)):
        assert (number, bytes(size)) == (index, data)
    assert len(server.service.begun) == 20


def test_a_large_answer_delays_no_small_one(start, stub):
    shop = stub(start())
    large = [shop.blob.begin(16 << 20) for _ in range(4)]
    assert shop.add(1, 2) == 3
    assert not all(call.done() for call in large)
    assert [len(call.result(WAIT)) for call in large] == [16 << 20] * 4


def test_a_stream_that_nobody_reads_lets_large_answers_pass(start, stub):
    shop = stub(start())
    streams = [shop.count.begin(1000, size=60_000) for _ in range(6)]
    assert len(shop.blob(4 << 20)) == 4 << 20
    assert [len(list(stream)) for stream in streams] == [1000] * 6


def test_a_stream_in_a_task_that_is_cancelled_ends_at_the_server(start, stub):
    server = start()
    shop = stub(server)

    async def read():
        async for _ in shop.tick.aio(10**9):
            pass

    async def cancel():
        task = asyncio.create_task(read())
        while not server.service.begun:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    wait_running(server, 0)


# ---- Addresses ----


def test_unix_socket(start, stub, tmp_path):
    server = start(None, tmp_path / "shop")
    assert server.address == str(tmp_path / "shop")
    assert stub(server).add(1, 2) == 3


def test_several_addresses_are_one_server(start, stub, tmp_path):
    server = start(None, [("127.0.0.1", 0), ("::1", 0), str(tmp_path / "shop")])
    assert len(server.addresses) == 3
    for number, address in enumerate(server.addresses, 1):
        assert stub(address).record(f"from {address}") == number


def test_nobody_there(start, tmp_path):
    server = start()
    server.close()
    with pytest.raises(rpc.Unavailable, match=f"{server.address[1]}.*refused"):
        rpc.connect(Shop, server.address)
    with pytest.raises(rpc.Unavailable, match="No such file"):
        rpc.connect(Shop, tmp_path / "nothing")


# ---- Interfaces ----


class Priced(ABC):
    @rpc.method
    @abstractmethod
    def price(self, name: str) -> int: ...

    @rpc.method(inline=True)
    def currency(self) -> str:
        return "EUR"


class Market(Priced, rpc.Service):
    @rpc.method
    def price(self, name: str) -> int:
        return len(name)

    @rpc.method
    def names(self) -> Iterator[str]:
        yield from ("apple", "pear")

    def secret(self) -> str:
        return "not for others"


@runtime_checkable
class HasPrice(Protocol):
    @rpc.method
    def price(self, name: str) -> int: ...


def test_abstract_classes_are_interfaces(start, stub):
    server = start(Market(), interface=Priced)
    priced = stub(server, Priced)
    assert (priced.price("apple"), priced.currency()) == (5, "EUR")
    assert isinstance(priced, Priced)


def test_protocols_are_interfaces(start, stub):
    class Stand:
        def price(self, name: str) -> int:
            return 7

    server = start(Stand(), interface=HasPrice)
    there = stub(server, HasPrice)
    assert there.price("pear") == 7
    assert isinstance(there, HasPrice)


def test_a_subclass_serves_what_it_inherits(start, stub):
    class Discount(Market):
        def price(self, name: str) -> int:
            return super().price(name) - 1

    server = start(Discount(), interface=Market)
    market = stub(server, Market)
    assert market.price("apple") == 4
    assert list(market.names()) == ["apple", "pear"]


def test_only_marked_methods_are_called_from_afar(start, stub):
    market = stub(start(Market()), Market)
    assert "secret" not in vars(market)
    assert market.secret() == "not for others"  # It runs here, as any inherited method does.


def test_a_stub_asks_for_its_own_methods_only(start, stub):
    """So servers can be upgraded first."""

    class Old(rpc.Service):
        rpc_name = "Priced"

        @rpc.method
        def price(self, name: str) -> int: ...

    assert stub(start(Market()), Old).price("pear") == 4


def no_annotation():
    class Service:
        @rpc.method
        def f(self, a) -> None: ...

    return Service


def no_result():
    class Service:
        @rpc.method
        def f(self, a: int): ...

    return Service


def variadic():
    class Service:
        @rpc.method
        def f(self, *args: int) -> None: ...

    return Service


def oneway_with_result():
    class Service:
        @rpc.method(oneway=True)
        def f(self) -> int: ...

    return Service


def inline_stream():
    class Service:
        @rpc.method(inline=True)
        def f(self) -> Iterator[int]: ...

    return Service


def raises_no_exception():
    class Service:
        @rpc.method(raises=[int])
        def f(self) -> None: ...

    return Service


def nothing_marked():
    class Service:
        def f(self) -> None: ...

    return Service


def mixed_union():
    class Service:
        @rpc.method
        def f(self, a: list[int] | set[int]) -> None: ...

    return Service


@pytest.mark.parametrize(
    "make, says",
    [
        (no_annotation, "parameter 'a' has no annotation"),
        (no_result, "its result has no annotation"),
        (variadic, "name each parameter"),
        (oneway_with_result, "a oneway method returns None"),
        (inline_stream, "cannot be inline"),
        (raises_no_exception, "raises holds classes of exceptions, not <class 'int'>"),
        (nothing_marked, "has no method that is marked"),
        (mixed_union, "union"),
    ],
)
def test_what_cannot_be_an_interface_says_why(make, says):
    with pytest.raises(TypeError, match=says):
        rpc.serve(make()())


def test_a_service_must_have_the_interface_s_methods():
    with pytest.raises(TypeError, match=r"object has no method price\(\)"):
        rpc.serve(object(), interface=HasPrice)


def test_stubs_are_made_by_connect_alone(start, stub):
    shop = stub(start())
    with pytest.raises(TypeError, match="rpc.connect"):
        type(shop)()
    with pytest.raises(TypeError, match="is no stub"):
        rpc.close(object())
    with pytest.raises(TypeError, match="the interface must be a class, not <"):
        rpc.connect(Shop(), ("127.0.0.1", 1))


def test_stubs_describe_themselves(start, stub):
    shop = stub(start())
    assert repr(shop.add) == "<remote method add(a: float, b: float = 1.0) -> float>"
    assert shop.add.__doc__ == "The sum."


def test_using_a_closed_stub(start, stub):
    shop = stub(start())
    shop.close()
    shop.close()
    with pytest.raises(rpc.ConnectionLost, match="the stub is closed"):
        shop.add(1, 2)


def test_closing_a_stub_ends_its_calls_here_and_there(start, stub):
    server = start()
    shop = stub(server)
    call = shop.wait.begin("left behind")
    stream = shop.count.begin(1 << 20)
    wait_running(server, 2)
    shop.close()
    with pytest.raises(rpc.ConnectionLost, match="closed"):
        call.result(WAIT)
    with pytest.raises(rpc.ConnectionLost, match="closed"):
        list(stream)
    wait_running(server, 0)
    assert server.service.ended.count("left behind cancelled") == 1


# ---- Context ----


def test_metadata_of_connection_and_call(start, stub):
    shop = stub(start(), metadata={"user": "ann", "trace": "0"})
    assert shop.told() == {"user": "ann", "trace": "0"}
    with rpc.metadata(trace="1", tenant="x"):
        assert shop.told() == {"user": "ann", "trace": "1", "tenant": "x"}
        with rpc.metadata(tenant="y"):
            assert shop.told.begin().result(WAIT)["tenant"] == "y"
        assert len(shop.echo(bytes(100_000))) == 100_000
    assert shop.told() == {"user": "ann", "trace": "0"}


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        ({"a": 1}, TypeError, "str to str, not 'a': 1"),
        ({"a": "x" * 10_000}, ValueError, "10001 bytes; at most 8192"),
    ],
)
def test_metadata_that_cannot_be_sent(start, stub, wrong, error, says):
    server = start()
    with pytest.raises(error, match=says):
        stub(server, metadata=wrong)
    with pytest.raises(error, match=says), rpc.metadata(**wrong):
        pass


def test_the_current_call(start, stub):
    server = start()
    shop = stub(server, timeout=30)
    before = time.monotonic()
    server.service.gate.set()
    shop.wait("me")
    context = server.service.contexts[0]
    assert (context.method, context.metadata) == ("wait", {})
    assert context.peer[0] == "127.0.0.1"
    assert before + 29 < context.deadline < time.monotonic() + 31
    assert 0 < context.remaining < 31
    assert not context.cancelled
    with pytest.raises(LookupError, match="rpc.current"):
        rpc.current()


def test_interceptors_of_the_server_surround_each_method(start, stub):
    seen: list[tuple[str, object]] = []

    def outer(context, proceed):
        seen.append(("before", context.method))
        result = proceed()
        seen.append(("after", context.method))
        return result

    def inner(context, proceed):
        if context.metadata.get("user") == "mallory":
            raise PermissionError("not you")
        return proceed()

    server = start(interceptors=[outer, inner])
    shop = stub(server)
    assert (shop.add(1, 2), shop.pooled(3), shop.sleep(0.0, "x")) == (3, 3, "x")
    assert list(shop.tick(2)) == [0, 1]
    assert [what for what in seen if what[0] == "before"] == [
        ("before", name) for name in ("add", "pooled", "sleep", "tick")
    ]
    assert seen.count(("after", "pooled")) == 1
    mallory = stub(server, metadata={"user": "mallory"})
    with pytest.raises(rpc.RemoteError, match="PermissionError: not you"):
        mallory.add(1, 2)


def test_interceptors_of_the_client_see_each_call(start, stub):
    begun: list[str] = []
    ended: list[str] = []

    def watch(call):
        name = call.signature.name
        if name == "take":
            raise PermissionError("not from here")
        begun.append(name)
        call.add_done_callback(lambda call: ended.append(name))

    shop = stub(start(), interceptors=[watch])
    assert shop.add(1, 2) == 3
    assert shop.pooled.begin(5).result(WAIT) == 5
    assert asyncio.run(shop.pooled.aio(5)) == 5
    assert list(shop.tick(3)) == [0, 1, 2]
    with pytest.raises(PermissionError, match="not from here"):
        shop.take(1)
    assert begun == ["add", "pooled", "pooled", "tick"]
    wait_until(lambda: ended == begun, "all callbacks have run")


def test_interceptors_hear_of_calls_that_could_not_begin(start, stub):
    begun: list[rpc.Call] = []
    ended: list[rpc.Call] = []

    def watch(call):
        begun.append(call)
        call.add_done_callback(ended.append)

    server = start()
    shop = stub(server, interceptors=[watch], retry=0.1)
    assert shop.add(1, 2) == 3
    server.close()
    for form in shop.add, shop.add.begin, shop.log:
        with pytest.raises((rpc.Unavailable, rpc.ConnectionLost)):
            made = form("line") if form is shop.log else form(1, 2)
            if isinstance(made, rpc.Call):
                made.result(WAIT)
            elif form is shop.log:
                shop.log("the first one may have reached the kernel")
    wait_until(lambda: set(ended) == set(begun), "each has ended")


# ---- Errors ----


def test_an_exception_reaches_the_caller(start, stub):
    shop = stub(start())
    with pytest.raises(rpc.RemoteError) as caught:
        shop.take(1)
    error = caught.value
    assert (error.type, error.message) == ("KeyError", "'no account for 1'")
    assert error.remote_traceback == ""
    assert shop.add(1, 2) == 3


def test_tracebacks_are_shown_if_the_server_opts_in(start, stub):
    with pytest.raises(rpc.RemoteError) as caught:
        stub(start(tracebacks=True)).take(1)
    assert 'raise KeyError(f"no account for {amount}")' in caught.value.remote_traceback


def test_declared_exceptions_arrive_as_themselves(start, stub):
    shop = stub(start())
    with pytest.raises(Overdrawn) as caught:
        shop.take(101)
    assert caught.value.args == (101, "too much")
    with pytest.raises(Overdrawn) as caught:
        shop.take(13)
    assert type(caught.value) is Overdrawn, "only the declared class is known to both sides"
    assert caught.value.args == Locked(13).args
    with pytest.raises(Overdrawn):
        asyncio.run(shop.take.aio(101))
    assert isinstance(shop.take.begin(101).exception(WAIT), Overdrawn)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(rpc.Service):
    """Raises what is hard to send."""

    ERRORS = {
        "surrogate": lambda: ValueError("\udcff"),
        "unprintable": Unprintable,
        "huge argument": lambda: Overdrawn(2**70),
        "object argument": lambda: Overdrawn(object()),
        "long": lambda: ValueError("x" * 1_000_000),
        "exit": lambda: SystemExit(3),
        "cancelled": asyncio.CancelledError,
        "interrupt": KeyboardInterrupt,
        "generator exit": GeneratorExit,
        "stop": lambda: StopIteration(1),
        "group": lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]),
        "nested refusal": lambda: rpc.Unavailable("of another server"),
    }

    @rpc.method(inline=True, raises=[Overdrawn])
    def inline(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    def pooled(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    async def task(self, name: str) -> int:
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    def stream(self, name: str) -> Iterator[int]:
        yield 1
        raise self.ERRORS[name]()

    @rpc.method(raises=[Overdrawn])
    async def ticks(self, name: str) -> AsyncIterator[int]:
        yield 1
        raise self.ERRORS[name]()

    @rpc.method(inline=True)
    def fine(self) -> int:
        return 1


@pytest.mark.parametrize("form", ["inline", "pooled", "task", "stream", "ticks"])
@pytest.mark.parametrize("name", Odd.ERRORS)
def test_every_exception_is_an_answer(start, stub, name, form):
    """Nothing that a method raises leaves its caller without an answer, or costs a thread."""
    server = start(Odd(), threads_max=1)
    odd = stub(server, Odd, timeout=WAIT)
    for _ in range(2):
        with pytest.raises((rpc.RemoteError, rpc.Cancelled, Overdrawn)):
            if form in ("stream", "ticks"):
                list(getattr(odd, form)(name))
            else:
                getattr(odd, form)(name)
    assert odd.fine() == 1
    wait_running(server, 0)


def test_wrong_arguments_name_the_method_and_the_place(start, stub):
    server = start()
    shop = stub(server)
    with pytest.raises(rpc.WrongArguments, match=r"add\(a: float.*Expected `float`, got `str`"):
        shop.add("one", 2)
    with pytest.raises(rpc.WrongArguments, match="pooled.*got `str`"):
        shop.pooled("one")
    assert server.service.begun == []
    assert shop.add(1, 2) == 3


def test_a_wrong_result_is_the_server_s_fault(start, stub):
    class Liar(rpc.Service):
        @rpc.method
        def number(self) -> int:
            return "seven"

        @rpc.method
        def thing(self) -> int:
            return object()

        @rpc.method
        def numbers(self) -> Iterator[int]:
            yield from (1, "two")

    liar = stub(start(Liar()), Liar)
    with pytest.raises(rpc.WrongResult, match="number.*Expected `int`, got `str`"):
        liar.number()
    with pytest.raises(rpc.WrongResult, match="thing.*object cannot be sent"):
        liar.thing()
    stream = iter(liar.numbers())
    assert next(stream) == 1
    with pytest.raises(rpc.WrongResult, match="numbers.*Expected `int`, got `str`"):
        next(stream)


def test_errors_can_be_told_apart():
    for error in (rpc.UnknownMethod, rpc.WrongArguments, rpc.BodyTooLarge, rpc.VersionMismatch):
        assert issubclass(error, rpc.RpcError) and not issubclass(error, ConnectionError)
    assert issubclass(rpc.DeadlineExceeded, TimeoutError)
    assert issubclass(rpc.OutcomeUnknown, rpc.ConnectionLost)
    assert issubclass(rpc.Unavailable, ConnectionError)


# ---- Options ----


@pytest.mark.parametrize(
    "options, says",
    [
        ({"calls_max": 0}, "calls_max must be from 1 .*, not 0"),
        ({"body_bytes_max": -1}, "body_bytes_max must be from 1 .*, not -1"),
        ({"session_seconds": "x"}, "session_seconds.*'x'"),
        ({"threads_max": 0}, "threads_max must be from 1 .*, not 0"),
        ({"sessions_max": 0}, "sessions_max must be from 1 .*, not 0"),
        ({"threads_max": 1.5}, "threads_max.*1.5"),
    ],
)
def test_options_of_serve(options, says):
    with pytest.raises((ValueError, TypeError), match=says):
        rpc.serve(Shop(), **options)


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"timeout": 0}, ValueError, "timeout must be.* more than 0 seconds, not 0"),
        ({"keepalive": -1.0}, ValueError, "keepalive must be.*not -1.0"),
        ({"body_bytes_max": 0}, ValueError, "body_bytes_max must be from 1 .*, not 0"),
        ({"retry": "long"}, TypeError, "retry"),
        ({"busy_poll_us": -1}, ValueError, "busy_poll_us must be from 0 to 1000000, not -1"),
        ({"matchmaker": ("127.0.0.1", 1)}, TypeError, "one of both"),
    ],
)
def test_options_of_connect(start, options, error, says):
    with pytest.raises(error, match=says):
        rpc.connect(Shop, start().address, **options)


def test_reflection_and_health(start, stub):
    from fastsock.rpc.builtin import Builtins

    server = start()
    any_server = stub(server, Builtins)
    assert any_server.rpc_ping() is None
    assert any_server.rpc_health()["status"] == "serving"
    described = any_server.rpc_describe()
    assert (described.service, described.version) == ("Shop", "1")
    assert described.doc == "Methods of each kind."
    add = next(each for each in described.methods if each.name == "add")
    assert add.signature == "add(a: float, b: float = 1.0) -> float"
    fields = [(field.name, field.type) for field in add.parameters]
    assert (add.doc, fields) == ("The sum.", [("a", "float"), ("b", "float")])
