"""fastsock.rpc when servers vanish or stop, and connections are lost: what runs goes on, and what
cannot be known is told."""

import asyncio
import threading
import time

import pytest
import rpc_raw as raw
from calls import Call
from conftest import WAIT, wait_until
from rpc_ends import Server, wait_running
from rpc_raw import Proxy, RawClient, frame

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

# ---- Servers that vanish or stop ----


def test_a_server_that_is_killed_in_the_middle_of_calls(stub):
    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)), retry=0.1, connect_timeout=1.0)
        stream = iter(shop.count(10**9))
        next(stream)
        begun, repeatable = shop.wait.begin("begun"), shop.again.begin("repeatable")
        called = Call(lambda: shop.wait("called"))
        called.wait_asleep()
        process.close()
        for error in called.wait_result(), begun.exception(WAIT):
            assert type(error) is rpc.OutcomeUnknown
            assert "wait may have run or not" in str(error)
        assert type(repeatable.exception(WAIT)) is rpc.ConnectionLost
        with pytest.raises(rpc.ConnectionLost, match="count|lost|closed|reset"):
            list(stream)
        with pytest.raises(rpc.Unavailable, match="refused"):
            shop.add(1, 2)


def test_a_stub_comes_back_when_its_server_does(stub):
    with Server("rpc_server.py") as process:
        port = process.port
        shop = stub(("127.0.0.1", int(port)), retry=WAIT)
        assert shop.add(1, 2) == 3
        waiting = shop.wait.begin("its outcome is not known")
        repeated = shop.again.begin("is called again")
        assert shop.add(1, 2) == 3
        process.close()
        with Server("rpc_server.py", port):
            with pytest.raises(rpc.OutcomeUnknown, match="wait may have run or not"):
                waiting.result(WAIT)
            assert shop.add(1, 2) == 3
            assert not repeated.done()


def test_a_stopped_server_and_deadlines(stub):
    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)))
        assert shop.add(1, 2) == 3
        process.stop()
        begun = time.monotonic()
        for form in (lambda: shop.add(1, 2), lambda: shop.echo(bytes(32 << 20))):
            with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.2):
                form()
        with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.2):
            shop.pooled.begin(1).result()
        assert time.monotonic() - begun < WAIT
        process.resume()
        with rpc.deadline(WAIT):
            assert shop.pooled(5) == 5


def test_coroutines_keep_their_deadlines_while_a_long_body_is_stuck(stub):
    async def awaited(shop):
        with rpc.deadline(0.2):
            await shop.pooled.aio(1)

    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)))
        assert shop.add(1, 2) == 3
        process.stop()
        stuck = shop.echo.begin(bytes(32 << 20))
        begun = time.monotonic()
        with pytest.raises(rpc.DeadlineExceeded):
            asyncio.run(awaited(shop))
        assert time.monotonic() - begun < WAIT
        process.resume()
        assert len(stuck.result(WAIT)) == 32 << 20


def test_closing_a_stub_of_a_stopped_server_is_bounded(stub):
    """Also while a long body is on its way."""
    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)))
        assert shop.add(1, 2) == 3
        process.stop()
        call = shop.echo.begin(bytes(64_000_000))
        begun = time.monotonic()
        shop.close()
        assert time.monotonic() - begun < WAIT
        with pytest.raises((rpc.ConnectionLost, rpc.Unavailable), match="the stub is closed"):
            call.result(WAIT)
        process.resume()


@pytest.mark.parametrize("form", ["call", "begin", "long", "long begin", "short deadlines"])
def test_keepalive_finds_a_silent_server(stub, form):
    with Server("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.port)), keepalive=0.2, retry=0.1, connect_timeout=0.3)
        assert shop.add(1, 2) == 3
        process.stop()
        begun = time.monotonic()
        if form == "short deadlines":
            # The accepting kernel of a stopped server takes connections; nobody greets.
            while time.monotonic() - begun < WAIT:
                try:
                    with rpc.deadline(0.1):
                        shop.pooled(1)
                except rpc.DeadlineExceeded:
                    continue
                except (rpc.ConnectionLost, rpc.Unavailable):
                    break
            else:
                pytest.fail("the server was never given up")
        else:
            forms = {
                "call": lambda: shop.pooled(1),
                "begin": lambda: shop.pooled.begin(1).result(),
                "long": lambda: shop.echo(bytes(32 << 20)),
                "long begin": lambda: shop.echo.begin(bytes(32 << 20)).result(),
            }
            error = Call(forms[form]).wait_result()
            assert isinstance(error, rpc.OutcomeUnknown | rpc.Unavailable), error
        assert time.monotonic() - begun < WAIT
        process.resume()


def test_keepalive_does_not_end_a_connection_that_lives(start, stub):
    """Slow calls, one after another, with other calls between them."""
    server = start()
    shop = stub(server, keepalive=0.1)
    for _ in range(3):
        assert shop.sleep(0.35, "slow") == "slow"
        assert shop.add(1, 2) == 3
        with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.15):
            shop.sleep(1.0, "cut short")
        assert shop.add(1, 2) == 3
        call = shop.sleep.begin(0.35, "begun")
        assert call.result() == "begun"
    assert server.health()["sessions"] == 1


# ---- Connections that are lost ----


def test_running_calls_are_joined_when_the_client_comes_back(start, stub):
    server = start()
    with Proxy(server.address) as proxy:
        shop = stub(proxy)
        calls = [shop.wait.begin(f"call {n}") for n in range(5)]
        wait_running(server, 5)
        proxy.cut()
        proxy.wait_connections(2)
        server.service.gate.set()
        assert [call.result(WAIT) for call in calls] == [f"call {n}" for n in range(5)]
        assert sorted(server.service.begun) == [f"call {n}" for n in range(5)]


def test_a_synchronous_call_is_joined_as_well(start, stub):
    server = start()
    with Proxy(server.address) as proxy:
        shop = stub(proxy)
        called = Call(lambda: shop.wait("once"))
        wait_running(server, 1)
        proxy.cut()
        proxy.wait_connections(2)
        server.service.gate.set()
        assert called.wait_result() == "once"
        assert server.service.begun == ["once"]


@pytest.mark.parametrize("method", ["record", "pooled", "again", "echo"])
def test_answers_that_were_lost_are_kept_or_made_again(start, stub, method):
    server = start()
    server.service.gate.set()
    argument = {"pooled": 7, "echo": bytes(100_000)}.get(method, "lost")

    def down(pair, data):
        return None if pair is proxy.pairs[0] and data[4] == raw.REPLY else data

    with Proxy(server.address, down=down) as proxy:
        shop = stub(proxy)
        result = getattr(shop, method)(argument)
        assert len(proxy.pairs) == 2, "the first connection was cut"
        assert result == {"record": 1}.get(method, argument)
        if method != "echo":
            assert 1 <= len(server.service.begun) <= (2 if method == "again" else 1)


def test_calls_that_never_arrived_go_out_again_in_order(start, stub):
    """Also those that were held back, which come behind the others."""
    server = start(calls_max=4)

    def up(pair, data):
        """Of the first connection only the hello arrives."""
        if pair is not proxy.pairs[0] or data[4] == raw.HELLO:
            return data
        swallowed.append(data)
        return b""

    swallowed: list[bytes] = []
    with Proxy(server.address, up=up) as proxy:
        shop = stub(proxy)
        calls = [shop.pooled.begin(number) for number in range(20)]
        wait_until(lambda: swallowed, "some calls are lost")
        proxy.cut()
        assert [call.result(WAIT) for call in calls] == list(range(20))
        assert sorted(server.service.begun) == sorted(f"pooled {n}" for n in range(20))


def test_a_long_body_that_was_cut_off_is_sent_again(start, stub):
    server = start()
    passed = 0

    def up(pair, data):
        nonlocal passed
        passed += len(data)
        return None if pair is proxy.pairs[0] and passed > 3_000_000 else data

    with Proxy(server.address, up=up) as proxy:
        data = bytes(range(256)) * 40_000
        assert stub(proxy).echo(data) == data
        assert len(proxy.pairs) == 2


def test_a_stream_is_not_resumed(start, stub):
    server = start()
    with Proxy(server.address) as proxy:
        shop = stub(proxy)
        stream = iter(shop.count(10**9))
        next(stream)
        proxy.cut()
        with pytest.raises(rpc.ConnectionLost) as caught:
            list(stream)
        assert not isinstance(caught.value, rpc.OutcomeUnknown)
        wait_running(server, 0)
        assert server.service.ended == ["count"]
        assert shop.add(1, 2) == 3


@pytest.mark.parametrize("stream", ["count", "tick"])
def test_streams_of_a_half_open_connection_end_when_the_client_comes_back(start, stream):
    server = start()
    arguments = {"count": (10**9, -1, 0), "tick": (10**9,)}[stream]
    with RawClient(server.address) as old:
        old.call(1, stream, *arguments)
        wait_running(server, 1)
        with RawClient(server.address, session=old.session, resume=True) as new:
            assert new.hello.value[4] is True, "resumed"
            wait_running(server, 0)
            new.call(2, "add", 1.0, 2.0)
            assert new.result(2) == 3.0


def test_a_session_that_is_taken_twice_harms_nobody(start, stub):
    server = start(session_seconds=0.05)
    token = b"t" * 16
    with RawClient(server.address, session=token) as two:
        RawClient(server.address, session=token).close()
        two.say(frame(raw.BYE))
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 0.1, "session_seconds are over")
    for _ in range(3):
        assert stub(server).add(1, 2) == 3


def test_sessions_that_are_away_are_bounded(start):
    server = start(sessions_max=10, session_seconds=60.0)
    for _ in range(50):
        with RawClient(server.address) as client:
            client.call(1, "add", 1.0, 2.0)
            client.result(1)
    with RawClient(server.address):
        wait_until(lambda: server.health()["sessions"] <= 12, "the longest away are forgotten")


# ---- The end of a server ----


def test_draining_finishes_what_runs_and_refuses_the_rest(start, stub):
    server = start()
    shop = stub(server)
    running = shop.wait.begin("runs")
    wait_running(server, 1)
    with pytest.raises(TimeoutError, match="1 calls still run after 0.05 s"):
        server.drain(0.05)
    assert server.draining
    with pytest.raises(rpc.Unavailable, match="draining"):
        shop.add(1, 2)
    with pytest.raises(rpc.Unavailable, match="draining"):
        stub(server).pooled(1)
    server.service.gate.set()
    server.drain(WAIT)
    assert running.result(WAIT) == "runs"


def test_closing_a_server_cancels_what_runs(start, stub):
    server = start()
    shop = stub(server, retry=0.1)
    calls = [shop.wait.begin("waits"), shop.sleep.begin(60.0, "sleeps")]
    stream = shop.count.begin(10**9)
    wait_until(lambda: {"waits", "sleeps", "count 0"} <= set(server.service.begun), "all run")
    begun = time.monotonic()
    server.close()
    assert time.monotonic() - begun < WAIT
    for call in calls:
        assert isinstance(call.exception(WAIT), rpc.ConnectionLost | rpc.Cancelled | None)
    with pytest.raises((rpc.ConnectionLost, rpc.Cancelled)):
        list(stream)
    assert sorted(server.service.ended) == ["count", "sleeps cancelled", "waits cancelled"]


def test_closing_a_server_waits_for_all_blocking_methods_together(start, stub):
    server = start(linger=0.5)
    shop = stub(server, retry=0.1)
    server.service.barrier = threading.Barrier(17)
    calls = [shop.meet.begin(number) for number in range(16)]
    wait_running(server, 16)
    begun = time.monotonic()
    server.close()
    assert time.monotonic() - begun < 16 * 0.5, "it has waited for one after the other"
    server.service.barrier.abort()
    for call in calls:
        with pytest.raises((rpc.RpcError, rpc.RemoteError)):
            call.result(WAIT)
