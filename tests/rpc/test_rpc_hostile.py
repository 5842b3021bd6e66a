"""fastsock.rpc against clients that lie, flood and read nothing: clear errors, bounded memory, and
nobody else disturbed."""

import socket
import struct

import numpy as np
import pytest
import rpc_raw as raw
from conftest import WAIT, read_to_end, wait_until
from rpc_ends import resident_bytes
from rpc_raw import RawClient, frame, pack
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
        ({"service": "x" * 10_000, "version": "1"}, VERSION, "it serves Shop"),
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
    with RawClient(server.address, proof=b"wrong") as client:
        client.say(frame(raw.CALL, 1, pack(["x"]), method=1))
        client.say(frame(raw.HELLO, payload=client.hello_payload(proof=b"secret")))
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
        ("<f8", [0] * 80),
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
