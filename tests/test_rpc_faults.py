"""fastsock.rpc against peers that lie, stop, flood and vanish: clear errors, bounded memory, and
nobody else disturbed."""

import asyncio
import signal
import socket
import struct
import threading
import time

import numpy as np
import pytest
import rpc_raw as raw
from calls import Call
from conftest import WAIT, read_to_end, wait_until
from rpc_ends import Process, resident_bytes, wait_running
from rpc_raw import LyingServer, Peer, Proxy, RawClient, frame, pack, server_hello
from rpc_shop import Shop

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

UNKNOWN, ARGUMENTS, TOO_LARGE, BAD_REQUEST, VERSION, OVERLOADED, OUTCOME = 1, 2, 4, 5, 6, 8, 12
"""Codes of errors."""


@pytest.fixture
def server(start, stub):
    """A server that must still serve a well-behaved client in the end."""
    server = start(body_bytes_max=1 << 20, calls_max=16)
    friend = stub(server)
    yield server
    assert friend.add(1, 2) == 3
    assert friend.pooled(7) == 7


def code_of(answer):
    assert answer.kind in (raw.ERROR, raw.REFUSED), answer.kind
    return answer.value[0]


# ---- Hello ----


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0" * 4096,
        b"\xff" * 4096,
        struct.pack(">I", 1 << 31) + b"x" * 100,
        frame(raw.HELLO),
        frame(raw.HELLO, payload=b"\xc1"),
        frame(raw.HELLO, payload=b"\x91" * 100_000),
        frame(raw.HELLO, payload=pack([1, "", "", b"short", False, "", {}])),
        frame(raw.HELLO, payload=pack([1, "", "", b"s" * 65, False, "", {}])),
        frame(raw.HELLO, payload=pack([1, "", "", "not bytes", False, "", {}])),
        frame(raw.HELLO, payload=pack([1, "", "", b"s" * 16, False, "", {"a": 1}])),
        frame(raw.CALL, 1, pack([1, 2]), method=1),
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 0),
    ],
)
def test_whoever_does_not_greet_is_sent_away(server, garbage):
    with RawClient(server.address, greet=False) as client:
        client.sock.sendall(garbage)
        client.sock.shutdown(socket.SHUT_WR)
        try:
            said = read_to_end(client.sock)
        except ConnectionResetError:
            return
    if said:
        answer = raw.Frame(said[4:])
        assert (answer.kind, code_of(answer)) == (raw.REFUSED, BAD_REQUEST)


@pytest.mark.parametrize(
    "changes, code, says",
    [
        ({"protocol": 2}, VERSION, "protocol 2; this server speaks 1"),
        ({"service": "Bakery", "version": "1"}, VERSION, "it serves Shop version 1, not Bakery"),
        ({"service": "Shop", "version": "2"}, VERSION, "not Shop version 2"),
        ({"service": "x" * 50_000, "version": "1"}, VERSION, "it serves Shop"),
    ],
)
def test_a_hello_that_does_not_fit_is_told_why(server, changes, code, says):
    with RawClient(server.address, **changes) as client:
        assert (client.hello.kind, code_of(client.hello)) == (raw.REFUSED, code)
        assert says in client.hello.value[2]
        assert len(client.hello.value[2]) < 1000
        assert client.hear() is None, "the connection is closed"


@pytest.mark.parametrize("token, says", [("", "a token is needed"), ("wrong", "token is wrong")])
def test_strangers_need_the_token(start, stub, token, says):
    server = start(token="secret")
    with pytest.raises(rpc.Forbidden, match=says):
        stub(server, token=token)
    assert stub(server, token="secret").add(1, 2) == 3


def test_nothing_is_called_before_the_hello(start):
    server = start(token="secret")
    with RawClient(server.address, token="wrong") as client:
        client.say(frame(raw.CALL, 1, pack(["x"]), method=1))
        client.say(frame(raw.HELLO, payload=client.hello_payload(token="secret")))
        assert client.hear() is None
    assert server.service.begun == []


def test_versions_and_interfaces_that_differ_name_the_difference(start, stub):
    server = start()

    class Bakery(rpc.Service):
        @rpc.method
        def add(self, a: float) -> float: ...

    class Other(rpc.Service):
        rpc_name = "Shop"

        @rpc.method(inline=True)
        def add(self, a: str, b: float = 1.0) -> float: ...

    class More(rpc.Service):
        rpc_name = "Shop"

        @rpc.method
        def bake(self) -> None: ...

    class Newer(Shop):
        rpc_version = "2"

    with pytest.raises(rpc.VersionMismatch, match="it serves Shop version 1, not Bakery version 1"):
        stub(server, Bakery)
    with pytest.raises(rpc.VersionMismatch, match="Shop version 1, not Shop version 2"):
        stub(server, Newer)
    says = r"add\(\) differs: the server has add\(a: float, .*, the stub add\(a: str"
    with pytest.raises(rpc.InterfaceMismatch, match=says):
        stub(server, Other)
    with pytest.raises(rpc.InterfaceMismatch, match=r"Shop has no method bake\(\)"):
        stub(server, More)


def test_who_connects_and_says_nothing_costs_nothing(server):
    silent = [socket.create_connection(server.address) for _ in range(50)]
    for sock in silent:
        sock.close()


# ---- Frames ----


@pytest.mark.parametrize("kind", [0, raw.REFUSED, raw.REPLY, raw.ITEM, raw.DRAIN, 77, 255])
def test_frames_of_unknown_kind(server, kind):
    with RawClient(server.address) as client:
        client.say(frame(kind, 1, b"payload"))
        assert code_of(client.hear()) == BAD_REQUEST
        assert client.hear() is None


@pytest.mark.parametrize("size", range(24))
def test_frames_shorter_than_a_header(server, size):
    with RawClient(server.address) as client:
        client.say(struct.pack(">I", size) + bytes([raw.CALL]) * size)
        answer = client.hear()
        assert answer is None or code_of(answer) == BAD_REQUEST
        assert client.hear() is None


def test_a_frame_that_announces_too_much_ends_the_connection(server):
    with RawClient(server.address) as client:
        client.say(struct.pack(">I", 0xFFFFFFF0) + b"x" * 1000)
        assert client.hear() is None


def test_a_frame_that_never_ends_disturbs_nobody(server):
    client = RawClient(server.address)
    client.say(client.call_frame(1, "add", 1, 2)[:-3])
    client.close()


@pytest.mark.parametrize(
    "body, flags, code",
    [
        (b"", 0, ARGUMENTS),
        (b"\xc1", 0, ARGUMENTS),
        (pack([1.0, 2.0])[:-1], 0, ARGUMENTS),
        (pack([1.0, 2.0]) + b"x", 0, ARGUMENTS),
        (pack([1.0]), 0, ARGUMENTS),
        (pack([1.0, 2.0, 3.0]), 0, ARGUMENTS),
        (pack({"a": 1}), 0, ARGUMENTS),
        (b"\x91" * 60_000, 0, ARGUMENTS),
        (b"\xdd\xff\xff\xff\xff", 0, ARGUMENTS),
        (b"\xc6\xff\xff\xff\xff", 0, ARGUMENTS),
        (b"", raw.METADATA, BAD_REQUEST),
        (b"\xff\xff" + b"x" * 10, raw.METADATA, BAD_REQUEST),
        (b"\x00\x02" + pack([1]) + pack([1.0, 2.0]), raw.METADATA, BAD_REQUEST),
        (b"", raw.SEGMENTS, ARGUMENTS),
        (struct.pack(">I", 0), raw.SEGMENTS, ARGUMENTS),
        (struct.pack(">I", 0xFFFFFFFF), raw.SEGMENTS, ARGUMENTS),
        (struct.pack(">IQ", 1, 1 << 63), raw.SEGMENTS, ARGUMENTS),
        (struct.pack(">IQQ", 2, 1, 1 << 40), raw.SEGMENTS, ARGUMENTS),
        (b"", raw.MORE, BAD_REQUEST),
        (b"\x00\x00\x00", raw.MORE, BAD_REQUEST),
        (struct.pack(">Q", 3) + b"four", raw.MORE, BAD_REQUEST),
        (struct.pack(">Q", 1 << 62), raw.MORE, TOO_LARGE),
        (struct.pack(">Q", 0), raw.MORE, ARGUMENTS),
    ],
)
def test_bodies_that_lie_are_refused_and_the_connection_lives(server, body, flags, code):
    with RawClient(server.address) as client:
        client.say(frame(raw.CALL, 1, body, flags=flags, method=client.methods["add"][0]))
        assert code_of(client.hear_answer(1)) == code
        client.call(2, "add", 1.0, 2.0)
        assert client.result(2) == 3.0


def test_unknown_methods_and_flags(server):
    with RawClient(server.address) as client:
        for number, method in enumerate([0, 999, 0x7FFF, 0xFFFF], 1):
            client.say(frame(raw.CALL, number, pack([]), method=method))
            assert code_of(client.hear_answer(number)) == UNKNOWN
        client.call(5, "add", 1.0, 2.0)
        assert client.result(5) == 3.0


def array_call(client, number, dtype, shape, data=b""):
    """A call of ``double`` with an array that is described as the test wishes."""
    meta = pack([0, dtype, shape])
    packed = b"\x91\xc7" + bytes([len(meta), 1]) + meta
    table = struct.pack(">IQQ", 2, len(packed), len(data))
    body = table + bytes(-len(table) % 16) + packed
    body += bytes(-len(body) % 16) + data
    client.say(
        frame(raw.CALL, number, body, flags=raw.SEGMENTS, method=client.methods["double"][0])
    )


@pytest.mark.parametrize(
    "dtype, shape",
    [
        ("<f8", [1 << 60]),
        ("<f8", [0, 1 << 62]),
        ("<f8", [0, 1 << 62, 1 << 62]),
        ("<f8", [-1]),
        ("<f8", [-1, -8]),
        ("<f8", [1] * 65),
        ("<f8", [0] * 40),
        ("|S0", [1 << 40]),
        ("<U0", [1 << 40]),
        ("|V0", [1 << 40]),
        ("|O", [1]),
        ("O", [0]),
        ("i4,O", [0]),
        ("<M8", [1 << 40]),
        ("nonsense", [1]),
        ("(2,i4", [1]),
        ("(1000000000,)i4", [1]),
        ("f8, ", [1]),
        ("{'names':['a'],'formats':['O']}", [1]),
        ("\0", [1]),
        ("a9", [1]),
        ("S999999999999", [1]),
    ],
)
def test_arrays_that_are_not_what_they_announce(server, dtype, shape):
    with RawClient(server.address) as client:
        before = resident_bytes()
        array_call(client, 1, dtype, shape)
        assert code_of(client.hear_answer(1)) == ARGUMENTS
        assert resident_bytes() - before < 64 << 20
        array_call(client, 2, "<f8", [2], struct.pack("<2d", 1, 2))
        assert client.hear_answer(2).kind == raw.REPLY


@pytest.mark.parametrize("segment", [1, -1, 1 << 63])
def test_segments_that_are_not_there(server, segment):
    meta = pack([segment, "<f8", [1]])
    packed = b"\x91\xc7" + bytes([len(meta), 1]) + meta
    body = struct.pack(">IQ", 1, len(packed)) + bytes(4) + packed
    with RawClient(server.address) as client:
        client.say(frame(raw.CALL, 1, body, flags=raw.SEGMENTS, method=client.methods["double"][0]))
        assert code_of(client.hear_answer(1)) == ARGUMENTS


def test_chunks_without_a_body_are_passed_over(server):
    with RawClient(server.address) as client:
        client.say(frame(raw.CHUNK, 1, b"x" * 1000), frame(raw.CHUNK, 99, b""))
        client.call(1, "add", 1.0, 2.0)
        assert client.result(1) == 3.0


# ---- Floods ----


def test_calls_beyond_calls_max_are_refused(server):
    with RawClient(server.address) as client:
        for number in range(1, 41):
            client.call(number, "wait", "flood")
        refused = [client.hear() for _ in range(24)]
        assert {code_of(answer) for answer in refused} == {OVERLOADED}
        assert {answer.call for answer in refused} == set(range(17, 41))
        assert "calls_max = 16" in refused[0].value[2]
        server.service.gate.set()
        assert {client.hear().call for _ in range(16)} == set(range(1, 17))
        client.call(41, "add", 1.0, 2.0)
        assert client.result(41) == 3.0


@pytest.mark.parametrize("method", ["pooled", "sleep"])
def test_calls_up_to_calls_max_are_never_refused(start, stub, method):
    """A client that waits for an answer before it calls again is within its limit."""
    shop = stub(start(calls_max=1))
    for number in range(1000):
        assert getattr(shop, method)(*((number,) if method == "pooled" else (0.0, ""))) in (
            number,
            "",
        )
    calls = [shop.pooled.begin(number) for number in range(200)]
    assert [call.result(WAIT) for call in calls] == list(range(200))


def test_unfinished_bodies_are_bounded_and_forgotten_when_cancelled(server):
    """Uploads that are given up leave nothing behind."""
    with RawClient(server.address) as client:
        echo = client.methods["echo"][0]
        for number in range(1, 101):
            start = struct.pack(">Q", 1 << 20) + bytes(60_000)
            client.say(
                frame(raw.CALL, number, start, flags=raw.MORE, method=echo),
                frame(raw.CHUNK, number, bytes(60_000)),
                frame(raw.CANCEL, number),
            )
        body = pack([bytes(100_000)])
        client.say(
            frame(
                raw.CALL, 101, struct.pack(">Q", len(body)) + body[:60_000], flags=1, method=echo
            ),
            frame(raw.CHUNK, 101, body[60_000:]),
        )
        while (answer := client.hear()).call != 101:
            pass
        assert answer.kind == raw.REPLY


def test_unfinished_bodies_of_one_client_are_bounded(server):
    """calls_max bodies, each up to body_bytes_max, but together no more than four times that."""
    before = resident_bytes()
    with RawClient(server.address) as client:
        start = struct.pack(">Q", 1 << 20) + bytes(60_000)
        for number in range(1, 17):
            client.say(frame(raw.CALL, number, start, flags=1, method=client.methods["echo"][0]))
        for _ in range(15):
            for number in range(1, 17):
                client.say(frame(raw.CHUNK, number, bytes(60_000)))
        client.call(17, "add", 1.0, 2.0)
        while (answer := client.hear()).call != 17:
            assert code_of(answer) == OVERLOADED
        assert resident_bytes() - before < 32 << 20


def test_a_client_that_reads_nothing_is_bounded(start, stub):
    """Its answers wait in memory up to a limit; then it is closed. Others go on."""
    server = start()
    friend = stub(server)
    before = resident_bytes()
    with RawClient(server.address) as client:
        client.sock.settimeout(WAIT)
        most = 0
        try:
            for number in range(1, 3001):
                client.call(number, "blob", 1 << 20)
                if number % 50 == 0:
                    assert friend.add(1, 2) == 3
                    most = max(most, resident_bytes() - before)
        except ConnectionError:
            pass  # It has been closed.
        assert most < 300 << 20, f"{most >> 20} MiB for a client that does not read"


def test_pings_without_end_from_a_client_that_reads_nothing(start, stub):
    server = start()
    friend = stub(server)
    before = resident_bytes()
    with RawClient(server.address) as client:
        try:
            for _ in range(3000):
                client.say(frame(raw.PING) * 1000)
        except (ConnectionError, TimeoutError):
            pass  # It has been closed, or is not read any more.
        assert friend.add(1, 2) == 3
        assert resident_bytes() - before < 64 << 20


def test_credit_and_acknowledgements_without_measure(server):
    with RawClient(server.address) as client:
        client.call(1, "count", 10_000, -1, 0)
        client.say(
            frame(raw.CREDIT, amount=0xFFFFFFFF),
            frame(raw.CREDIT, 1, amount=0xFFFFFFFF, remaining=1 << 63),
            frame(raw.CREDIT, 77, amount=1),
            frame(raw.ACK, payload=b"odd"),
            frame(raw.ACK, payload=struct.pack(">3Q", 0, 1, 1 << 63)),
            frame(raw.CANCEL, 77),
        )
        wait_until(lambda: len(server.service.begun) >= 256, "the stream runs")
        client.call(2, "add", 1.0, 2.0)
        assert client.result(2) == 3.0


def test_the_same_number_runs_once(server):
    with RawClient(server.address) as client:
        for number in (1, 1, 2, 1, 2):
            client.call(number, "record", f"call {number}")
        answers = [client.hear() for _ in range(5)]
        assert server.service.begun == ["call 1", "call 2"]
        assert [(answer.call, answer.kind) for answer in answers] == [
            (number, raw.REPLY) for number in (1, 1, 2, 1, 2)
        ]
        client.say(frame(raw.ACK, payload=struct.pack(">Q", 1)))
        client.call(1, "record", "call 1")
        assert code_of(client.hear_answer(1)) == OUTCOME
        assert server.service.begun == ["call 1", "call 2"]


# ---- Limits of size ----


def test_bodies_up_to_the_limit_and_beyond(start, stub):
    shop = stub(start(body_bytes_max=1 << 20))
    fits = bytes((1 << 20) - 100)
    assert shop.echo(fits) == fits
    with pytest.raises(rpc.BodyTooLarge, match=r"a body of 10486\d\d bytes; .* is 1048576"):
        shop.echo(bytes(1 << 20))
    with pytest.raises(rpc.BodyTooLarge, match="is 1048576"):
        shop.double(np.zeros(1 << 18))
    with pytest.raises(rpc.BodyTooLarge, match="is 1048576"):
        shop.blob(2 << 20)
    assert shop.add(1, 2) == 3


def test_answers_longer_than_the_client_takes(start, stub):
    shop = stub(start(), body_bytes_max=100_000)
    with pytest.raises(rpc.BodyTooLarge, match="is 100000"):
        shop.blob(100_001)
    with pytest.raises(rpc.BodyTooLarge):
        list(shop.count(5, size=200_000))
    assert len(shop.blob(90_000)) == 90_000


# ---- Servers that vanish or stop ----


def test_a_server_that_is_killed_in_the_middle_of_calls(stub):
    with Process("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.said)), retry=0.1, connect_timeout=1.0)
        stream = iter(shop.count(10**9))
        next(stream)
        begun, repeatable = shop.wait.begin("begun"), shop.again.begin("repeatable")
        called = Call(lambda: shop.wait("called"))
        called.wait_asleep()
        process.kill()
        for error in called.wait_result(), begun.exception(WAIT):
            assert type(error) is rpc.OutcomeUnknown
            assert "wait may have run or not" in str(error)
        assert type(repeatable.exception(WAIT)) is rpc.ConnectionLost
        with pytest.raises(rpc.ConnectionLost, match="count|lost|closed|reset"):
            list(stream)
        with pytest.raises(rpc.Unavailable, match="refused"):
            shop.add(1, 2)


def test_a_stub_comes_back_when_its_server_does(stub):
    with Process("rpc_server.py") as process:
        port = process.said
        shop = stub(("127.0.0.1", int(port)), retry=WAIT)
        assert shop.add(1, 2) == 3
        waiting = shop.wait.begin("its outcome is not known")
        repeated = shop.again.begin("is called again")
        assert shop.add(1, 2) == 3
        process.kill()
        with Process("rpc_server.py", port):
            with pytest.raises(rpc.OutcomeUnknown, match="wait may have run or not"):
                waiting.result(WAIT)
            assert shop.add(1, 2) == 3
            assert not repeated.done()


def test_a_stopped_server_and_deadlines(stub):
    with Process("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.said)))
        assert shop.add(1, 2) == 3
        process.signal(signal.SIGSTOP)
        begun = time.monotonic()
        for form in (lambda: shop.add(1, 2), lambda: shop.echo(bytes(32 << 20))):
            with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.2):
                form()
        with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.2):
            shop.pooled.begin(1).result()
        assert time.monotonic() - begun < 3
        process.signal(signal.SIGCONT)
        with rpc.deadline(WAIT):
            assert shop.pooled(5) == 5


def test_coroutines_keep_their_deadlines_while_a_long_body_is_stuck(stub):
    async def awaited(shop):
        with rpc.deadline(0.2):
            await asyncio.wait_for(shop.pooled.aio(1), WAIT)

    with Process("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.said)))
        assert shop.add(1, 2) == 3
        process.signal(signal.SIGSTOP)
        stuck = shop.echo.begin(bytes(32 << 20))
        begun = time.monotonic()
        with pytest.raises(rpc.DeadlineExceeded):
            asyncio.run(awaited(shop))
        assert time.monotonic() - begun < 3
        process.signal(signal.SIGCONT)
        assert len(stuck.result(WAIT)) == 32 << 20


def test_closing_a_stub_of_a_stopped_server_is_bounded(stub):
    """Also while a long body is on its way."""
    with Process("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.said)))
        assert shop.add(1, 2) == 3
        process.signal(signal.SIGSTOP)
        call = shop.echo.begin(bytes(64_000_000))
        begun = time.monotonic()
        shop.close()
        assert time.monotonic() - begun < 5
        with pytest.raises((rpc.ConnectionLost, rpc.Unavailable), match="the stub is closed"):
            call.result(WAIT)
        process.signal(signal.SIGCONT)


@pytest.mark.parametrize("form", ["call", "begin", "long", "long begin", "short deadlines"])
def test_keepalive_finds_a_silent_server(stub, form):
    with Process("rpc_server.py") as process:
        shop = stub(("127.0.0.1", int(process.said)), keepalive=0.2, retry=0.1, connect_timeout=0.3)
        assert shop.add(1, 2) == 3
        process.signal(signal.SIGSTOP)
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
        process.signal(signal.SIGCONT)


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
def test_streams_of_a_half_open_connection_end_when_the_client_comes_back(server, stream):
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
    wait_running(server, 3)
    begun = time.monotonic()
    server.close()
    assert time.monotonic() - begun < 3
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
    assert time.monotonic() - begun < 3
    server.service.barrier.abort()
    for call in calls:
        with pytest.raises((rpc.RpcError, rpc.RemoteError)):
            call.result(WAIT)


# ---- Servers that lie ----


@pytest.fixture
def infos(start):
    """The methods of a real Shop, with their digests."""
    with RawClient(start().address) as client:
        return client.methods


def answering(*answers, infos, **changes):
    """A script for a LyingServer: a right hello, then the answers to whatever call comes first."""

    def script(peer: Peer, turn: int) -> None:
        peer.hear()
        peer.say(server_hello(infos, resumed=turn > 0, **changes))
        call = peer.hear()
        while call is not None and call.kind != raw.CALL:
            call = peer.hear()
        if call is not None:
            for kind, flags, payload in answers:
                peer.say(frame(kind, call.call, payload, flags=flags))
            while peer.hear() is not None:
                pass

    return script


@pytest.mark.parametrize(
    "answers",
    [
        [(raw.REPLY, 0, b"")],
        [(raw.REPLY, 0, b"\xc1")],
        [(raw.REPLY, 0, pack("text"))],
        [(raw.REPLY, 0, b"\x91" * 60_000)],
        [(raw.REPLY, raw.SEGMENTS, b"")],
        [(raw.REPLY, raw.SEGMENTS, struct.pack(">I", 0xFFFFFFFF))],
        [(raw.REPLY, raw.MORE, b"")],
        [(raw.REPLY, raw.MORE, struct.pack(">Q", 1 << 62))],
        [(raw.REPLY, raw.MORE, struct.pack(">Q", 2) + b"three")],
        [(raw.REPLY, raw.MORE, struct.pack(">Q", 9)), (raw.CHUNK, 0, b"x" * 100)],
        [(raw.CHUNK, 0, b"x")],
        [(raw.ERROR, 0, b"")],
        [(raw.ERROR, 0, b"\xc1")],
        [(raw.ERROR, 0, pack([999, "", "strange"]))],
        [(raw.ERROR, 0, pack([0, "Overdrawn", "", "", [[]] * 3]))],
        [(raw.ERROR, raw.MORE, struct.pack(">Q", 0))],
        [(raw.END, 0, b"")],
        [(raw.ITEM, 0, b""), (raw.END, 0, b"")],
        [(99, 0, b"")],
        [(raw.HELLO, 0, b"")],
        [(raw.CALL, 0, b"")],
    ],
    ids=lambda answers: " ".join(
        f"{kind}:{flags}:{body[:9].hex()}" for kind, flags, body in answers
    ),
)
@pytest.mark.parametrize("form", ["call", "begin", "stream"])
def test_a_server_that_lies_is_an_error(stub, infos, answers, form):
    """Of this package's, in time, and whoever reads for others lives on."""
    with LyingServer(answering(*answers, infos=infos)) as liar:
        shop = stub(liar, retry=0.1, connect_timeout=1.0, timeout=0.5)
        forms = {
            "call": lambda: shop.pooled(1),
            "begin": lambda: shop.pooled.begin(1).result(),
            "stream": lambda: list(shop.tick(1)),
        }
        outcome = Call(forms[form]).wait_result()
        assert isinstance(outcome, rpc.RpcError) or (form, outcome) == ("stream", [])
        assert isinstance(shop.add.begin(1, 2).exception(WAIT), rpc.RpcError)


def test_a_server_that_lies_again_and_again_is_given_up(stub, infos):
    with LyingServer(answering((99, 0, b""), infos=infos)) as liar:
        error = stub(liar).pooled.begin(1).exception(40)
        assert isinstance(error, rpc.OutcomeUnknown)
        assert liar.turns < 50, "it comes back without a pause"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">I", 4) + b"oops",
        frame(raw.HELLO, payload=b"\xc1"),
        frame(raw.HELLO, payload=pack([1])),
        frame(raw.HELLO, payload=pack([2, "Shop", "1", b"", False, 0, [], 1, 1, {}])),
        frame(raw.REFUSED, payload=b""),
        frame(raw.REFUSED, payload=pack([77, "", "why not"])),
        frame(raw.REPLY, 1),
        struct.pack(">I", 1 << 30),
    ],
)
def test_what_is_no_server_is_told_so(said):
    def script(peer, turn):
        peer.hear()
        peer.sock.sendall(said)

    with LyingServer(script) as liar, pytest.raises(rpc.RpcError) as caught:
        rpc.connect(Shop, liar.address, connect_timeout=1.0)
    assert str(liar.address[1]) in str(caught.value)


def test_a_server_that_accepts_and_says_nothing():
    def script(peer, turn):
        peer.hear()
        peer.hear()

    begun = time.monotonic()
    with LyingServer(script) as liar:
        with pytest.raises(rpc.Unavailable, match="accepts but does not answer"):
            rpc.connect(Shop, liar.address, connect_timeout=0.2)
        assert time.monotonic() - begun < 3


def test_a_server_that_announces_large_answers_costs_no_memory(stub, infos):
    """Memory grows as bytes arrive, not as they are announced."""
    answer = (raw.REPLY, raw.MORE, struct.pack(">Q", 1 << 26) + b"x" * 100)
    before = resident_bytes()
    with LyingServer(answering(answer, infos=infos)) as liar:
        with pytest.raises(rpc.DeadlineExceeded), rpc.deadline(0.2):
            stub(liar).pooled(1)
        assert resident_bytes() - before < 16 << 20
