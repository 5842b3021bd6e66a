"""Interceptors see calls to their end: whole streams, on both sides."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from conftest import WAIT, wait_until

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)


class Numbers(rpc.Service):
    """Streams that end in each way; each waits for the gate after its third item."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    @rpc.method
    def plain(self, count: int, fails: bool = False) -> Iterator[int]:
        for number in range(count):
            if number == 3:
                self.gate.wait(WAIT)
                if fails:
                    raise ValueError("at the third")
            yield number

    @rpc.method
    async def awaited(self, count: int, fails: bool = False) -> AsyncIterator[int]:
        for number in range(count):
            if number == 3:
                while not self.gate.is_set():
                    await asyncio.sleep(0.001)
                if fails:
                    raise ValueError("at the third")
            yield number

    @rpc.method(inline=True)
    def one(self, fails: bool = False) -> int:
        if fails:
            raise ValueError("it")
        return 1

    @rpc.method(inline=True)
    def own(self) -> int:
        rpc.current().on_end(self.heard.append)
        return 1


class Watched:
    """Both ends, and the endings that their interceptors hear of."""

    def __init__(self, start, stub):
        self.service = Numbers()
        self.service.heard = []
        self.at_server, self.at_client = [], []
        self.server = start(self.service, interceptors=[self.watch_server])
        self.stub = stub(self.server, Numbers, interceptors=[self.watch_client])

    def watch_server(self, context, proceed):
        context.on_end(lambda ending: self.at_server.append((context.method, ending)))
        return proceed()

    def watch_client(self, call):
        call.on_end(lambda ending: self.at_client.append((call.signature.name, ending)))

    def both(self):
        wait_until(lambda: self.at_server and self.at_client, "both sides hear of the end")
        ((_, server),), ((_, client),) = self.at_server, self.at_client
        return server, client

    def call(self, name, form, *args, most=10**9):
        """Items that were read; leaves the stream after so many."""
        method = getattr(self.stub, name)
        if form == "sync":
            return self.read(method(*args), most)
        return asyncio.run(self.read_async(method.aio(*args), most))

    def read(self, stream, most):
        items = []
        with stream:
            for item in stream:
                items.append(item)
                self.third(items)
                if len(items) == most:
                    break
        return items

    async def read_async(self, stream, most):
        items = []
        async with stream:
            async for item in stream:
                items.append(item)
                self.third(items)
                if len(items) == most:
                    break
        return items

    def third(self, items):
        if len(items) == 3:
            assert not self.at_server and not self.at_client, "the stream goes on"
            self.service.gate.set()


@pytest.fixture
def watched(start, stub):
    return Watched(start, stub)


forms = pytest.mark.parametrize("form", ["sync", "aio"])
names = pytest.mark.parametrize("name", ["plain", "awaited"])


@forms
@names
def test_a_stream_that_is_done(watched, name, form):
    assert len(watched.call(name, form, 1000)) == 1000
    for ending in watched.both():
        assert (ending.how, ending.error, ending.items) == ("done", None, 1000)
        assert 0 < ending.seconds < WAIT


@forms
@names
def test_a_stream_that_fails(watched, name, form):
    with pytest.raises(rpc.RemoteError, match="at the third"):
        watched.call(name, form, 1000, True)
    server, client = watched.both()
    assert (server.how, client.how) == ("error", "error")
    assert (server.items, client.items) == (3, 3)
    assert type(server.error) is ValueError
    assert type(client.error) is rpc.RemoteError


@forms
@names
def test_a_stream_whose_reader_leaves(watched, name, form):
    assert len(watched.call(name, form, 10**9, most=400)) == 400
    for ending in watched.both():
        assert ending.how == "cancelled"
        assert type(ending.error) is rpc.Cancelled
        assert 400 <= ending.items <= 1000


@forms
@names
def test_a_stream_whose_time_is_over(watched, name, form):
    with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.1):
        watched.call(name, form, 10**9)
    server, client = watched.both()
    assert client.how == "deadline"
    assert server.how in ("deadline", "cancelled"), "whichever it learns first"
    assert client.items >= 3


def test_other_calls_end_too(watched):
    assert watched.stub.one() == 1
    for ending in watched.both():
        assert (ending.how, ending.error, ending.items) == ("done", None, 0)
    watched.at_server.clear()
    watched.at_client.clear()
    with pytest.raises(rpc.RemoteError):
        watched.stub.one(True)
    assert [ending.how for ending in watched.both()] == ["error", "error"]


def test_a_method_without_interceptors_hears_of_its_own_end(start, stub):
    service = Numbers()
    service.heard = []
    numbers = stub(start(service), Numbers)
    assert [numbers.own() for _ in range(3)] == [1, 1, 1]
    assert [ending.how for ending in service.heard] == ["done"] * 3


def test_callbacks_that_fail_are_logged_and_harm_nobody(start, stub, caplog):
    def watch(context, proceed):
        context.on_end(lambda ending: 1 / 0)
        return proceed()

    numbers = stub(start(Numbers(), interceptors=[watch]), Numbers)
    assert numbers.one() == 1
    assert list(numbers.plain(2)) == [0, 1]
    wait_until(lambda: caplog.text.count("a callback of Numbers") == 2, "it is logged")


def test_what_would_never_run_is_refused(start, stub):
    contexts = []

    async def never(ending):
        raise AssertionError

    def watch(context, proceed):
        contexts.append(context)
        with pytest.raises(TypeError, match="async"):
            context.on_end(never)
        return proceed()

    def watch_client(call):
        with pytest.raises(TypeError, match="async"):
            call.on_end(never)

    numbers = stub(start(Numbers(), interceptors=[watch]), Numbers, interceptors=[watch_client])
    assert numbers.one() == 1
    with pytest.raises(RuntimeError, match="one has ended: call on_end"):
        contexts[0].on_end(print)


@names
def test_health_counts_a_stream_when_it_has_ended_and_with_its_whole_time(start, stub, name):
    server = start(service := Numbers())
    numbers = stub(server, Numbers)
    with getattr(numbers, name)(10) as stream:
        assert next(stream) == 0
        figures = server.health()["methods"][name]
        assert (figures["calls"], figures["running"]) == (0, 1)
        threading.Event().wait(0.05)
        service.gate.set()
        assert list(stream) == list(range(1, 10))
    wait_until(lambda: server.health()["methods"][name]["calls"] == 1, "it is counted")
    figures = server.health()["methods"][name]
    assert (figures["errors"], figures["running"]) == (0, 0)
    assert figures["p50"] >= 0.05
