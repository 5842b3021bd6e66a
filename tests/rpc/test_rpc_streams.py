"""fastsock.rpc: streams, read by for and async for, slowly, in part, or not at all."""

import asyncio

import pytest
from conftest import WAIT, wait_until
from rpc_ends import wait_running
from rpc_raw import CREDIT, HEADER, REPLY, RawClient, frame

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

WINDOW_BYTES = 1 << 20
"""Bytes of answers that a server sends without being credited."""


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


def test_large_answers_beside_a_small_one(start, stub):
    shop = stub(start())
    large = [shop.blob.begin(16 << 20) for _ in range(4)]
    assert shop.add(1, 2) == 3
    assert [len(call.result(WAIT)) for call in large] == [16 << 20] * 4


def test_a_large_answer_delays_no_small_one(start):
    """Who calls when all credit is used up by large answers has the answer soon after it goes on,
    with 60 MiB of the others still to come."""
    with RawClient(start().address) as client:
        for number in range(1, 5):
            client.call(number, "blob", 16 << 20)
        heard = 0
        while heard < WINDOW_BYTES:
            heard += HEADER.size + len(client.hear().payload)
        client.call(5, "add", 1.0, 2.0)
        client.say(frame(CREDIT, amount=WINDOW_BYTES))
        while (answer := client.hear()).call != 5:
            heard += HEADER.size + len(answer.payload)
            client.say(frame(CREDIT, amount=HEADER.size + len(answer.payload)))
        assert (answer.kind, answer.value) == (REPLY, 3.0)
        assert heard < 4 * WINDOW_BYTES


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
