"""fastsock.rpc: deadlines, timeouts and cancelling, on both sides."""

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from conftest import WAIT, read_to_end, wait_until
from rpc_ends import wait_begun, wait_running
from rpc_raw import BYE, Proxy, RawClient, frame

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

SHORT = 0.15
"""Seconds of a deadline that is to be over."""

SOON = WAIT / 2
"""Seconds within which something that has a short deadline is over, also on a busy machine;
what the deadline does not end takes WAIT."""


@contextlib.contextmanager
def soon():
    """What is done inside takes no longer than SOON."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SOON


@contextlib.contextmanager
def expires(seconds, *others):
    """What is done inside has so many seconds and raises DeadlineExceeded soon, or another error
    of those."""
    with soon(), pytest.raises((rpc.DeadlineExceeded, *others)), rpc.deadline(seconds):
        yield


# ---- The caller's clock decides ----


def test_each_form_of_call_ends_at_its_deadline(start, stub):
    server = start()
    shop = stub(server)

    async def awaited():
        await shop.hold.aio("awaited")

    forms = [
        lambda: shop.hold("called"),
        lambda: shop.hold.begin("begun").result(),
        lambda: asyncio.run(awaited()),
        lambda: shop.sleep(60.0, "coroutine"),
    ]
    for number, form in enumerate(forms, 1):
        with expires(SHORT):
            form()
        wait_until(lambda n=number: len(server.service.ended) == n, "it has ended at the server")
    assert all(line.endswith("cancelled") for line in server.service.ended)
    assert shop.add(1, 2) == 3


def test_a_stream_ends_at_its_deadline_after_its_items(start, stub):
    class Slow(rpc.Service):
        @rpc.method
        def drops(self) -> Iterator[int]:
            yield from range(3)
            rpc.current().wait_cancelled()
            yield 3

    server = start(Slow())
    got: list[int] = []
    with expires(SHORT):
        for number in stub(server, Slow).drops():
            got.append(number)
    assert got == [0, 1, 2]
    wait_running(server, 0)


def test_connect_s_timeout_is_the_default_of_each_call(start, stub):
    server = start()
    shop = stub(server, timeout=SHORT)
    for _ in range(2):
        with soon(), pytest.raises(rpc.DeadlineExceeded):
            shop.hold("too long")
    call = shop.hold.begin("begun")
    with soon(), pytest.raises(rpc.DeadlineExceeded):
        call.result(WAIT)
    assert shop.add(1, 2) == 3


def test_the_shortest_of_nested_deadlines_holds(start, stub):
    server = start()
    shop = stub(server, timeout=60)
    with rpc.deadline(60), expires(SHORT), rpc.deadline(60):
        shop.hold("nested")
    with rpc.deadline(60):
        assert shop.pooled(1) == 1
    server.service.gate.set()
    assert shop.wait("afterwards") == "afterwards"
    assert server.service.contexts[1].remaining > 30


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, 2e9])
def test_deadlines_that_cannot_be(seconds):
    says = "a deadline must be from 0 to 1e9 seconds, not"
    with pytest.raises(ValueError, match=says), rpc.deadline(seconds):
        pass


def test_a_deadline_that_is_over_sends_nothing(start, stub):
    server = start()
    shop = stub(server)
    for form in shop.record, shop.pooled:
        with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0):
            form(1 if form is shop.pooled else "late")
    assert shop.add(1, 2) == 3
    assert server.service.begun == []


def test_coroutines_keep_their_own_deadlines(start, stub):
    """Also one that begins later and ends earlier than others that are awaited already."""
    server = start()
    shop = stub(server)

    async def limited(seconds, name):
        with rpc.deadline(seconds):
            await shop.sleep.aio(60.0, name)

    async def several():
        endless = asyncio.create_task(shop.wait.aio("endless"))
        long = asyncio.create_task(limited(30, "long"))
        while len(server.service.begun) < 2:
            await asyncio.sleep(0.001)
        with soon(), pytest.raises(rpc.DeadlineExceeded):
            await limited(SHORT, "short")
        assert not endless.done() and not long.done()
        server.service.gate.set()
        assert await asyncio.wait_for(endless, WAIT) == "endless"
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long

    asyncio.run(several())


def test_callbacks_hear_of_the_deadline_though_nobody_waits(start, stub):
    shop = stub(start(), timeout=SHORT)
    ended = threading.Event()
    call = shop.hold.begin("called back")
    call.add_done_callback(lambda call: ended.set())
    with soon():
        assert ended.wait(WAIT)
    assert isinstance(call.exception(), rpc.DeadlineExceeded)


# ---- The server's side ----


def test_an_expired_call_is_never_started(start, stub):
    """It waits for a thread until nobody wants it any more."""
    server = start(threads_max=1)
    shop = stub(server)
    blocked = shop.wait.begin("blocks the only thread")
    wait_begun(server, "blocks the only thread")
    with expires(SHORT):
        shop.pooled(7)
    server.service.gate.set()
    blocked.result(WAIT)
    wait_running(server, 0)
    assert "pooled 7" not in server.service.begun


@pytest.mark.parametrize("method", ["record", "pooled", "sleep", "count"])
def test_the_server_starts_no_call_whose_time_is_over(start, method):
    """The server's clock starts when the call is decoded; a microsecond is over by then."""
    server = start()
    arguments = {"record": ["x"], "pooled": [1], "sleep": [0.0, "x"], "count": [3, -1, 0]}[method]
    with RawClient(server.address) as client:
        client.call(1, method, *arguments, remaining=1)
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (5, 10), "ERROR DeadlineExceeded"
    assert server.service.begun == []


def test_calls_of_the_called_method_inherit_its_deadline(start, stub, closing):
    server = start()
    behind = stub(server)

    class Front(rpc.Service):
        @rpc.method
        def relay(self) -> float:
            """What the server behind has got of the time."""
            behind.hold("relayed")
            return 0.0

        @rpc.method
        async def relay_task(self) -> float:
            await behind.hold.aio("relayed")
            return 0.0

        @rpc.method
        def relay_items(self) -> Iterator[int]:
            behind.hold("relayed")
            yield 0

    front = stub(start(Front()), Front)
    forms = [front.relay, front.relay_task, lambda: list(front.relay_items())]
    for number, form in enumerate(forms, 1):
        with expires(SHORT):
            form()
        wait_until(lambda n=number: len(server.service.ended) == n, "it has ended behind as well")
    assert all(context.deadline is not None for context in server.service.contexts)


def test_a_nested_deadline_that_the_caller_did_not_set_is_an_error_of_the_method(start, stub):
    server = start()
    behind = stub(server)

    class Front(rpc.Service):
        @rpc.method
        def relay(self) -> None:
            with rpc.deadline(SHORT):
                behind.hold("relayed")

    with soon(), pytest.raises((rpc.DeadlineExceeded, rpc.RemoteError)):
        stub(start(Front()), Front).relay()


# ---- Cancelling ----


def test_cancelling_a_call_is_seen_by_the_method(start, stub):
    server = start()
    call = stub(server).wait.begin("cancelled")
    wait_begun(server, "cancelled")
    assert call.cancel()
    assert call.cancelled() and call.done()
    assert not call.cancel(), "it has ended"
    with pytest.raises(rpc.Cancelled):
        call.result()
    wait_until(lambda: server.service.ended == ["cancelled cancelled"], "the method has seen it")
    wait_running(server, 0)


def test_a_call_that_was_cancelled_before_it_started_does_not_start(start, stub):
    server = start(threads_max=1)
    shop = stub(server)
    blocked = shop.wait.begin("blocks the only thread")
    wait_begun(server, "blocks the only thread")
    call = shop.pooled.begin(7)
    wait_running(server, 2)
    call.cancel()
    assert shop.add(1, 2) == 3  # What was sent before has arrived.
    server.service.gate.set()
    blocked.result(WAIT)
    wait_running(server, 0)
    assert "pooled 7" not in server.service.begun


def test_cancelling_a_task_cancels_the_coroutine_there(start, stub):
    server = start()
    shop = stub(server)

    async def cancel():
        task = asyncio.create_task(shop.sleep.aio(60.0, "task"))
        while not server.service.begun:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shop.sleep.aio(60.0, "limited"), SHORT)

    asyncio.run(cancel())
    wait_until(
        lambda: server.service.ended == ["task cancelled", "limited cancelled"], "both have ended"
    )


def test_a_task_that_is_cancelled_before_it_begins_leaves_nothing_running(start, stub):
    server = start()
    shop = stub(server)

    async def cancel():
        task = asyncio.create_task(shop.sleep.aio(60.0, "never"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert shop.add(1, 2) == 3
    wait_running(server, 0)


def test_cancelling_while_the_answer_comes(start, stub):
    """Either side may be first; each call ends once, and nothing is left."""
    server = start()
    shop = stub(server)
    calls = []
    for number in range(300):
        call = shop.pooled.begin(number)
        calls.append((number, call, call.cancel() if number % 2 else False))
    for number, call, cancelled in calls:
        if cancelled:
            assert isinstance(call.exception(WAIT), rpc.Cancelled)
        else:
            assert call.result(WAIT) == number
    wait_running(server, 0)


def test_a_client_that_goes_away_for_good_cancels_its_calls(start):
    server = start(session_seconds=SHORT)
    with RawClient(server.address) as client:
        client.call(1, "wait", "gone")
        client.call(2, "sleep", 60.0, "gone too")
        wait_begun(server, "gone", "gone too")
    wait_until(lambda: visited(server) and len(server.service.ended) == 2, "both are cancelled")
    wait_running(server, 0)


def test_what_a_goodbye_has_cancelled_is_not_answered(start):
    server = start()
    with RawClient(server.address) as client:
        client.call(1, "wait", "blocking")
        client.call(2, "sleep", 60.0, "coroutine")
        wait_begun(server, "blocking", "coroutine")
        client.say(frame(BYE))
        wait_running(server, 0)
        client.sock.shutdown(socket.SHUT_WR)
        assert read_to_end(client.sock) == b""
    assert sorted(server.service.ended) == ["blocking cancelled", "coroutine cancelled"]


def visited(server):
    """Says hello, which is when a server looks for sessions whose time is over."""
    with RawClient(server.address) as client:
        return client.hello.kind == 1


# ---- A server that is away ----


def test_deadlines_hold_while_a_link_is_made_again(start, stub):
    server = start()
    with Proxy(server.address) as proxy:
        shop = stub(proxy, retry=30.0)
        assert shop.add(1, 2) == 3
        server.close()
        proxy.cut()
        with expires(SHORT, rpc.ConnectionLost, rpc.Unavailable):
            shop.pooled(1)
        with expires(SHORT, rpc.ConnectionLost, rpc.Unavailable):
            shop.pooled(2)
        with expires(SHORT, rpc.ConnectionLost, rpc.Unavailable):
            shop.pooled.begin(3).result()
        with soon():
            shop.close()


@pytest.fixture
def away(start, closing):
    """A server that can be sent away and called back, behind a proxy."""

    class Away:
        def __init__(self):
            self.server = start()
            self.shut = False
            self.proxy = closing.enter_context(Proxy(self.server.address, up=self.up))

        def up(self, pair, data):
            return None if self.shut else data

        def leave(self):
            """Returns when its clients try to come back."""
            self.shut = True
            before = len(self.proxy.pairs)
            self.proxy.cut()
            self.proxy.wait_connections(before + 1)

        async def tried(self):
            """Until a client has tried to come back, and failed."""
            before = len(self.proxy.pairs)
            while len(self.proxy.pairs) < before + 2:
                await asyncio.sleep(0.001)

        def come_back(self):
            self.shut = False

    return Away()


@pytest.mark.parametrize("form", ["call", "stream"])
def test_an_event_loop_goes_on_while_a_link_is_made_again(stub, away, form):
    """It is the loop that lets the client in again: a loop that waited for that would be stuck."""
    shop = stub(away.proxy, retry=WAIT)
    shop.wait.begin("is missed, so that somebody connects again")
    away.leave()

    async def use():
        if form == "call":
            return await shop.pooled.aio(2)
        return [number async for number in shop.tick.aio(2)]

    async def use_and_let_in():
        task = asyncio.create_task(use())
        await away.tried()
        assert not task.done()
        away.come_back()
        return await task

    assert asyncio.run(use_and_let_in()) == {"call": 2, "stream": [0, 1]}[form]


def test_a_task_that_is_cancelled_while_a_link_is_made_again_calls_nothing(stub, away):
    service = away.server.service
    shop = stub(away.proxy, retry=WAIT)
    running = shop.wait.begin("joined later")
    wait_begun(away.server, "joined later")
    away.leave()

    async def cancel():
        task = asyncio.create_task(shop.sleep.aio(60.0, "never"))
        await away.tried()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    away.come_back()
    assert shop.add(1, 2) == 3
    service.gate.set()
    assert running.result(WAIT) == "joined later"
    wait_running(away.server, 0)
    assert service.begun == ["joined later"]
