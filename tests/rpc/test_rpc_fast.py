"""fastsock.rpc's plain calls: what they keep of the promises of all calls, though they take fewer
steps; who may see the memory of a body, and a link's threads."""

import os
import signal
import socket
import threading
import time
import weakref
from collections import Counter
from contextlib import suppress

import msgspec
import numpy as np
import pytest
import rpc_raw as raw
from calls import Call
from conftest import WAIT, wait_until
from rpc_ends import resident_bytes, wait_begun
from rpc_raw import LyingServer, Peer, Proxy, RawClient, frame, pack, server_hello
from rpc_shop import Shop

from fastsock import rpc
from fastsock.rpc.wire._body import Body, call_method

pytest_plugins = ("rpc_fixtures",)

MIB = 1 << 20


class Gated(msgspec.Struct, array_like=True):
    """An argument: the first one with a gate is read slowly."""

    number: int

    gates = None

    def __post_init__(self):
        gates, Gated.gates = Gated.gates, None
        if gates is not None:
            reading, go_on = gates
            reading.set()
            assert go_on.wait(WAIT)


class Fast(rpc.Service):
    """Inline methods."""

    def __init__(self):
        self.ran = []

    @rpc.method(inline=True)
    def kind(self, data: bytes) -> str:
        return type(data).__name__

    @rpc.method
    def pooled_kind(self, data: bytes) -> str:
        return type(data).__name__

    @rpc.method(inline=True)
    def note(self, entry: Gated) -> int:
        self.ran.append(entry.number)
        return entry.number


@pytest.fixture
def gates():
    """``reading`` is set when the next Gated is being read, which ends when ``go_on`` is set."""
    Gated.gates = reading, go_on = threading.Event(), threading.Event()
    yield reading, go_on
    Gated.gates = None
    go_on.set()


@pytest.fixture
def infos(start):
    """The methods of a real Shop, with their digests."""
    with RawClient(start().address) as client:
        return client.methods


# ---- Calls at the server ----


@pytest.mark.parametrize("method", ["kind", "pooled_kind"])
@pytest.mark.parametrize("code", [1, 2, 9])
def test_bytes_are_bytes_and_no_extension(start, method, code):
    with RawClient(start(Fast()).address) as client:
        client.call(1, method, msgspec.msgpack.Ext(code, b"\x00" * 20))
        answer = client.hear_answer(1)
        assert answer.kind == raw.ERROR
        assert "Expected `bytes`, got `ext`" in answer.value[2]


def test_a_result_of_bytes_is_no_extension_either(stub, infos):
    def script(peer: Peer, turn: int):
        peer.hear()
        peer.say(server_hello(infos))
        call = peer.hear()
        peer.say(frame(raw.REPLY, call.call, pack(msgspec.msgpack.Ext(9, b"data"))))
        peer.hear()

    with LyingServer(script) as liar, pytest.raises(rpc.WrongResult, match="got `ext`"):
        stub(liar).echo(b"")


def test_no_call_begins_after_the_last_one_that_draining_tells(start, gates):
    """It would begin a second time at the server to which the client sends it then."""
    reading, go_on = gates
    server = start(Fast())
    with RawClient(server.address) as client:
        client.call(1, "note", [1])
        assert reading.wait(WAIT)
        server.drain()
        go_on.set()
        told = client.hear()
        assert (told.kind, told.call) == (raw.DRAIN, 0)
        assert client.hear_answer(1).value[0] == 9, "Unavailable"
    assert server.service.ran == []


@pytest.mark.parametrize("name", ["call", "begin"])
def test_the_longest_deadline_is_inherited(start, stub, name):
    class Asking(rpc.Service):
        @rpc.method
        def call(self) -> float:
            return shop.add(1, 2)

        @rpc.method
        def begin(self) -> float:
            return shop.add.begin(1, 2).result()

    shop = stub(start())
    with RawClient(start(Asking()).address) as client:
        client.call(1, name, remaining=(1 << 64) - 1)
        assert client.result(1) == 3.0


# ---- A call that has the link to itself, and others ----


def test_calls_that_are_held_back_by_a_plain_one_go_out_after_it(start, stub):
    server = start(calls_max=1)
    shop = stub(server)
    first = Call(lambda: shop.wait("first"))
    wait_begun(server, "first")
    others = [Call(lambda n=n: shop.pooled(n)) for n in range(3)]
    link = shop._rpc_connector.link
    wait_until(lambda: len(link.unstarted) == 3, "the others are held back")
    server.service.gate.set()
    assert first.wait_result() == "first"
    assert [other.wait_result() for other in others] == [0, 1, 2]


@pytest.mark.parametrize("form", ["call", "begin", "oneway", "stream"])
def test_an_interceptor_may_cancel_what_has_not_begun(start, stub, form):
    server = start()
    shop = stub(server, interceptors=[lambda call: call.cancel()])
    forms = {
        "call": lambda: shop.record("x"),
        "begin": lambda: shop.record.begin("x").result(WAIT),
        "oneway": lambda: shop.log("x"),
        "stream": lambda: next(iter(shop.count(1))),
    }
    with pytest.raises(rpc.Cancelled):
        forms[form]()
    assert server.service.begun == []


def test_a_plain_call_that_is_cancelled_elsewhere_ends_at_once(start, stub):
    """Though its method does not, and its caller reads for all."""
    server = start()
    calls = []
    shop = stub(server, interceptors=[calls.append], keepalive=60.0)
    called = Call(lambda: shop.hold("held"))
    wait_begun(server, "held")
    assert calls[0].cancel()
    assert isinstance(called.wait_result(), rpc.Cancelled)
    assert not server.service.gate.is_set()
    assert shop.add(1, 2) == 3


def test_who_waits_for_a_call_that_was_begun_hears_that_it_is_cancelled(start, stub):
    server = start(calls_max=1)
    shop = stub(server, keepalive=60.0)
    held = shop.hold.begin("held")
    back = shop.pooled.begin(1)
    waiting = [Call(held.result), Call(back.result)]
    wait_begun(server, "held")
    assert back.cancel() and held.cancel()
    assert all(isinstance(call.wait_result(), rpc.Cancelled) for call in waiting)


def test_a_callback_that_comes_late_runs(start, stub):
    server = start()
    calls, ended = [], []
    shop = stub(server, interceptors=[calls.append])
    called = Call(lambda: shop.wait("once"))
    wait_begun(server, "once")
    calls[0].add_done_callback(lambda call: ended.append(call.result()))
    server.service.gate.set()
    assert called.wait_result() == "once"
    wait_until(lambda: ended == ["once"], "the callback runs")
    assert not shop._rpc_connector.link.attended


def test_control_c_ends_a_call_and_nothing_else(start, stub):
    server = start()
    shop = stub(server)
    for name in ("first", "second"):
        interrupter = threading.Thread(target=interrupt, args=(server, name))
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            shop.wait(name)
        interrupter.join(WAIT)
        wait_until(lambda name=name: f"{name} cancelled" in server.service.ended, "it is told")
        assert shop.add(1, 2) == 3
    assert not shop._rpc_connector.link.pending


def interrupt(server, name):
    """Control-C, when that method runs."""
    wait_until(lambda: name in server.service.begun, f"{name} has begun")
    os.kill(os.getpid(), signal.SIGINT)


def test_a_plain_call_outlives_its_link(start, stub):
    """Another thread may find out that the link is lost, and replace it."""
    server = start()
    with Proxy(server.address) as proxy:
        shop = stub(proxy)
        called = Call(lambda: shop.wait("once"))
        wait_begun(server, "once")
        gone = weakref.ref(shop._rpc_connector.link)
        gone().lose(rpc.ConnectionLost("found elsewhere"))
        proxy.wait_connections(2)
        server.service.gate.set()
        assert called.wait_result() == "once"
        assert server.service.begun == ["once"]


def test_threads_that_begin_cancel_and_call(start, stub):
    """The link passes from those who have it to themselves to those who share it, and back."""
    server = start()
    shop = stub(server)
    server.service.gate.set()
    results = Counter()

    def work(seed):
        for n in range(seed, 300, 4):
            results[shop.pooled(n) == n] += 1
            begun = [shop.pooled.begin(number) for number in range(n, n + 5)]
            begun[n % 5].cancel()
            for number, call in enumerate(begun, n):
                with suppress(rpc.Cancelled):
                    results[call.result(WAIT) == number] += 1

    threads = [Call(lambda seed=seed: work(seed)) for seed in range(4)]
    assert [thread.wait_result() for thread in threads] == [None] * 4
    assert set(results) == {True} and results[True] >= 300 * 5
    link = shop._rpc_connector.link
    wait_until(lambda: not link.attended, "no call is left")
    wait_until(lambda: not link.followers, "nobody waits")
    assert not link.pending and not link.unstarted


# ---- Servers that take nothing, or little ----


def narrow(liar, shop):
    """Few bytes fit between the stub and the server."""
    liar.peers[0].sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    with socket.socket(fileno=os.dup(shop._rpc_connector.link.client.fileno())) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    return shop


def deaf(infos, hears=None, told=None):
    """A script for a LyingServer that reads nothing more before ``hears`` is set, then all:
    ``told(frame)``."""

    def script(peer: Peer, turn: int):
        peer.hear()
        peer.say(server_hello(infos, body_bytes_max=1 << 26))
        if hears is None:
            ended.wait(WAIT)
            return
        assert hears.wait(WAIT)
        while (heard := peer.hear()) is not None:
            told(heard)

    ended = threading.Event()
    script.end = ended.set
    return script


def test_deadlines_hold_though_the_server_takes_nothing(stub, infos, closing):
    script = deaf(infos)
    with LyingServer(script) as liar:
        closing.callback(script.end)
        shop = stub(liar)
        begun = time.monotonic()
        for _ in range(200):
            with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.005):
                shop.echo(bytes(60_000))
        assert time.monotonic() - begun < WAIT / 2, "each waited for the sending, too"
        script.end()


def test_a_server_that_takes_nothing_is_found_by_calls_with_short_deadlines(stub, infos):
    """None of them waits for as long as ``keepalive``."""
    script = deaf(infos)
    with LyingServer(script) as liar:
        shop = narrow(liar, stub(liar, keepalive=0.5, retry=0.1))

        def tries_again():
            with suppress(rpc.RpcError), rpc.deadline(0.01):
                shop.echo(bytes(60_000))
            return liar.turns > 1

        wait_until(tries_again, "the client takes another connection")
        script.end()


def test_waiting_for_a_server_that_takes_nothing_costs_no_cpu(stub, infos):
    script = deaf(infos)
    with LyingServer(script) as liar:
        call = stub(liar).echo.begin(bytes(32 * MIB))
        with pytest.raises(TimeoutError):
            call.result(0.3)
        before = time.process_time()
        with pytest.raises(TimeoutError):
            call.result(1.0)
        assert time.process_time() - before < 0.3
        script.end()


def test_what_was_not_taken_at_once_arrives_once_and_in_order(stub, infos):
    hears, bodies, order = threading.Event(), {}, []

    def told(heard):
        if heard.kind == raw.CALL:
            order.append(heard.call)
            bodies[heard.call] = heard.payload[8 if heard.flags & raw.MORE else 0 :]
        elif heard.kind == raw.CHUNK:
            bodies[heard.call] += heard.payload

    def sent(number):
        return bytes([number]) * (1 + number % 3 * 4 * MIB)

    with LyingServer(deaf(infos, hears, told)) as liar:
        shop = stub(liar, keepalive=60.0)
        calls = [shop.echo.begin(sent(number)) for number in range(1, 7)]
        late = [Call(lambda: expire(shop)) for _ in range(3)]
        assert [call.wait_result() for call in late] == [None] * 3
        hears.set()
        for number, call in enumerate(calls, 1):
            body = sent(number)
            wait_until(lambda n=number: len(bodies.get(n, b"")) >= len(sent(n)), f"call {number}")
            assert bodies[number].endswith(body) and len(bodies[number]) < len(body) + 100
            call.cancel()
        assert order == sorted(set(order))


def expire(shop):
    """A plain call whose time is over before the server takes anything."""
    with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.3):
        shop.pooled(1)


def test_deadlines_hold_while_a_long_body_goes_out_slowly(stub, infos):
    """Nobody waits for the call: the thread that sends the body looks at the clock, too."""
    expired = threading.Event()
    got = 0

    def script(peer: Peer, turn: int):
        nonlocal got
        peer.hear()
        peer.say(server_hello(infos, body_bytes_max=1 << 26))
        while not expired.is_set() and (data := peer.sock.recv(1 << 16)):
            got += len(data)
            expired.wait(0.001)

    with LyingServer(script) as liar:
        shop = narrow(liar, stub(liar))
        shop.echo.begin(bytes(60 * MIB))
        with rpc.deadline(0.2):
            shop.pooled.begin(1).add_done_callback(lambda call: expired.set())
        assert expired.wait(WAIT)
        assert got < 60 * MIB, "the call ended when the body was sent"


# ---- Hellos ----


@pytest.mark.parametrize("number", [-1, 1 << 16, 1 << 40])
def test_a_method_number_that_no_frame_can_hold_is_refused(infos, number):
    lied = infos | {"pooled": [number, *infos["pooled"][1:]]}
    assert_refused(server_hello(lied))


def test_a_server_that_takes_no_call_at_all_is_refused(infos):
    assert_refused(server_hello(infos, calls_max=0))


def assert_refused(hello):
    refused = pytest.raises(rpc.BadRequest, match="its hello cannot be read")
    with LyingServer(lambda peer, turn: peer.say(hello)) as liar, refused:
        rpc.connect(Shop, liar.address)


# ---- Bodies ----


def body_of(size: int) -> Body:
    body = Body(size)
    assert body.add(bytes(size), 0) == 0
    return body


def test_a_body_takes_what_was_announced_and_no_more():
    body = Body(5)
    assert body.add(b"head123", 4) == 2
    assert body.add(b"456", 0) == -1 and len(body) == 3, "nothing is added"
    with memoryview(body) as seen, pytest.raises(BufferError, match="cannot grow"):
        assert seen == b"123"
        body.add(b"4", 0)
    assert body.add(b"45", 0) == 0
    assert bytes(memoryview(body)) == b"12345"
    for at in (-1, 4, 1 << 62):
        with pytest.raises(ValueError, match="a frame of 3 bytes has no byte"):
            body.add(b"abc", at)


def test_a_body_of_nothing_and_one_that_cannot_be():
    empty = Body(0)
    assert empty.add(b"head", 4) == 0 and bytes(memoryview(empty)) == b""
    assert empty.add(b"x", 0) == -1
    assert Body(-1).add(b"", 0) == -1


def test_the_memory_of_a_long_body_is_not_kept_by_short_ones():
    before, kept = resident_bytes(), []
    for _ in range(20):
        body_of(16 * MIB)
        kept.append(body_of(300_000))
    assert resident_bytes() - before < 20 * 300_000 + 40 * MIB
    assert all(len(body) == 300_000 for body in kept)


# ---- Results that need no copy ----

shared = np.zeros(10)
cached = weakref.WeakValueDictionary()
kept_views = []


def returned(name):
    """What a method returns, by what others can do with it afterwards."""
    array = np.zeros(10)
    body = body_of(80)
    match name:
        case "fresh":
            return array
        case "view of a fresh one":
            return array[1:]
        case "view of a body":
            return np.frombuffer(memoryview(body)[8:72]).reshape(2, 4)
        case "shared":
            return shared
        case "view of a shared one":
            return shared[1:]
        case "kept view":
            kept_views.append(array[:2])
            return array
        case "cached":
            cached["array"] = array
            return array
        case "view of a cached one":
            cached["array"] = array
            return array[1:]
        case "subclass":
            return array.view(np.recarray)
        case "of a bytearray":
            return np.frombuffer(bytearray(80))
    return [array]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("fresh", True),
        ("view of a fresh one", True),
        ("view of a body", True),
        ("shared", False),
        ("view of a shared one", False),
        ("kept view", False),
        ("cached", False),
        ("view of a cached one", False),
        ("subclass", False),
        ("of a bytearray", False),
        ("of a list", False),
    ],
)
def test_a_result_is_own_only_if_nobody_else_can_change_it(name, own):
    assert call_method(returned, [(name,)])[1] is own


def test_an_argument_that_is_returned_and_kept_is_not_own():
    kept = []

    def keep(array):
        kept.append(array)
        return array

    assert call_method(lambda array: array, [(np.zeros(3),)])[1]
    assert not call_method(keep, [(np.zeros(3),)])[1]
