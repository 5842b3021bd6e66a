"""fastsock.rpc: a plain call is let in, or not, by the same rules whether InlineCalls takes it or
the plain path does."""

import logging
import random
import secrets
import struct
from collections.abc import Callable
from time import monotonic

import msgspec
import pytest
import rpc_raw as raw
from conftest import WAIT, wait_until
from rpc_ends import wait_running
from rpc_raw import RawClient, frame, pack

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

CALLS_MAX = 4


class Declared(Exception):
    """An error that a method declares."""


class Late(msgspec.Struct, array_like=True):
    """An argument that takes 30 ms to decode."""

    number: int

    def __post_init__(self):
        until = monotonic() + 0.03
        while monotonic() < until:
            pass


class Ways(rpc.Service):
    """Inline methods that end in each way, and one that waits."""

    def __init__(self):
        self.ran: list[str] = []

    @rpc.method(inline=True)
    def note(self, text: str) -> str:
        self.ran.append(text)
        return text

    @rpc.method(inline=True, idempotent=True)
    def again(self, text: str) -> None:
        self.ran.append(text)

    @rpc.method(inline=True, oneway=True)
    def tell(self, text: str) -> None:
        self.ran.append(text)

    @rpc.method(inline=True)
    def blob(self, size: int) -> bytes:
        return bytes(size)

    @rpc.method(inline=True, raises=(Declared,))
    def fail(self, declared: bool) -> None:
        raise Declared("so") if declared else KeyError("not so")

    @rpc.method(inline=True)
    def wrong(self) -> int:
        return "no number"

    @rpc.method(inline=True)
    def late(self, entry: Late) -> int:
        self.ran.append("late")
        return entry.number

    @rpc.method(inline=True)
    def context(self) -> tuple[str, dict[str, str], bool]:
        current = rpc.current()
        return current.method, dict(current.metadata), current.deadline is None

    @rpc.method
    def hold(self) -> bool:
        return rpc.current().wait_cancelled(WAIT)


Frames = list[bytes | Callable[[rpc.Server], object]]
"""What a client says, and what is done to the server in between."""


def plain(client: RawClient) -> Frames:
    call = client.call_frame
    return [
        call(1, "note", "a"),
        call(2, "again", "b"),
        call(3, "tell", "c"),
        call(4, "context"),
        call(5, "context", remaining=60_000_000),
        call(6, "context", remaining=(1 << 64) - 1),
        call(9, "note", "a gap"),
        call(1 << 63, "note", "far"),
    ]


def numbers_that_have_been_here(client: RawClient) -> Frames:
    call = client.call_frame
    return [
        call(5, "note", "first"),
        call(5, "note", "twice"),
        call(3, "note", "below"),
        call(0, "note", "zero"),
        call(6, "again", "is not kept"),
        call(6, "again", "is not kept"),
        frame(raw.ACK, payload=struct.pack(">Q", 5)),
        call(5, "note", "after the ACK"),
    ]


def results(client: RawClient) -> Frames:
    call = client.call_frame
    return [
        call(1, "blob", 0),
        call(2, "blob", 65_000),
        call(3, "blob", 200_000),
        call(4, "blob", 2 << 20),
        call(5, "fail", True),
        call(6, "fail", False),
        call(7, "wrong"),
        call(8, "blob", -1),
    ]


def arguments(client: RawClient) -> Frames:
    call, method = client.call_frame, client.methods["note"][0]
    return [
        call(1, "note", 5),
        call(2, "note"),
        call(3, "note", "a", "b"),
        frame(raw.CALL, 4, b"", method=method),
        frame(raw.CALL, 5, b"\xc1", method=method),
        frame(raw.CALL, 6, b"\x91" * 5000, method=method),
        frame(raw.CALL, 7, pack(["a"]) + b"more", method=method),
        frame(raw.CALL, 8, pack(["a"]), method=999),
        call(1, "note", "that number has failed before"),
        call(9, "late", [{}]),
    ]


def flags(client: RawClient) -> Frames:
    method = client.methods["note"][0]
    own = pack({"k": "v"})
    body = struct.pack(">H", len(own)) + own
    told = client.methods["context"][0]
    return [
        frame(raw.CALL, 1, body + pack([]), method=told, flags=raw.METADATA),
        frame(raw.CALL, 2, pack(["a"]), method=method, flags=raw.METADATA),
        frame(raw.CALL, 3, pack(["a"]), method=method, flags=raw.SEGMENTS),
        frame(raw.CALL, 4, struct.pack(">Q", 2) + pack(["a"])[:1], method=method, flags=raw.MORE),
        frame(raw.CHUNK, 4, b"\xa0"),
        frame(raw.CALL, 5, pack(["a"]), method=method, flags=128),
    ]


def a_deadline_that_passes_in_the_decoder(client: RawClient) -> Frames:
    return [
        client.call_frame(1, "late", [1], remaining=20_000),
        client.call_frame(1, "late", [1]),
        client.call_frame(2, "late", [1], remaining=60_000_000),
    ]


def too_many_calls(client: RawClient) -> Frames:
    call = client.call_frame
    return [
        *(call(number, "hold") for number in range(1, CALLS_MAX + 1)),
        lambda server: wait_running(server, CALLS_MAX),
        call(10, "note", "one too many"),
        call(10, "note", "again"),
        frame(raw.CANCEL, 1),
        lambda server: wait_running(server, CALLS_MAX - 1),
        call(11, "note", "there is room"),
        *(frame(raw.CANCEL, number) for number in range(2, CALLS_MAX + 1)),
        lambda server: wait_running(server, 0),
    ]


def draining(client: RawClient) -> Frames:
    return [
        client.call_frame(1, "note", "before"),
        frame(raw.PING),
        lambda server: wait_until(lambda: server.service.ran, "the call before"),
        lambda server: server.drain(WAIT),
        client.call_frame(2, "note", "after"),
        frame(raw.CALL, 3, pack([]), method=client.methods["rpc_ping"][0]),
        client.call_frame(1, "note", "the first one again"),
    ]


def at_random(client: RawClient) -> Frames:
    """What nobody has thought of; the same for all, and for each run."""
    chosen = random.Random(20)
    methods = [client.methods[name][0] for name in ("note", "again", "tell", "fail", "context")]
    bodies = [pack([]), pack(["a"]), pack([True]), b"", b"\x91", pack(["a" * 3000])]
    frames: Frames = []
    for _ in range(400):
        kind = chosen.choices((raw.CALL, raw.ACK, raw.CANCEL, raw.CHUNK), (8, 1, 1, 1))[0]
        number, body = chosen.randrange(1, 120), chosen.choice(bodies)
        if kind == raw.ACK:
            body = struct.pack(">Q", number)
        flag = chosen.choices((0, raw.MORE, raw.SEGMENTS, raw.METADATA), (12, 1, 1, 1))[0]
        if flag == raw.MORE:
            body = struct.pack(">Q", max(0, len(body) + chosen.randrange(-1, 2))) + body
        frames.append(frame(kind, number, body, method=chosen.choice([*methods, 77]), flags=flag))
    return frames


def by_itself(context, proceed):
    """An interceptor, with which no call is InlineCalls'."""
    return proceed()


def observed(server: rpc.Server, script: Callable[[RawClient], Frames]) -> dict[str, object]:
    """All that can be seen of what a server does with these frames."""
    session, last = secrets.token_bytes(16), (1 << 64) - 1
    with RawClient(server.address, session=session, metadata={"user": "ann"}) as client:
        for each in script(client):
            if callable(each):
                each(server)
            else:
                client.say(each)
        client.call(last, "rpc_ping")
        answers = []
        while (heard := client.hear()).call != last:
            answers.append((heard.call, heard.kind, heard.flags, heard.payload))
    tallies = {
        name: (told["calls"], told["errors"], told["running"])
        for name, told in server.health()["methods"].items()
    }
    [known] = server._sessions.all()
    wait_until(lambda: known.conn is None, "the client is away")
    seen = {
        "answers": sorted(answers, key=lambda answer: answer[0]),
        "ran": server.service.ran,
        "tallies": tallies,
        "kept": {number: kept[:2] for number, kept in known.kept.items()},
        "running": sorted(known.running),
        "held": server._skeleton.budget.held_bytes,
    }
    with RawClient(server.address, session=session, resume=True) as client:
        return seen | {"resumed, highest, incomplete": client.hello.value[4:7]}


@pytest.mark.parametrize(
    "script",
    [
        plain,
        numbers_that_have_been_here,
        results,
        arguments,
        flags,
        a_deadline_that_passes_in_the_decoder,
        too_many_calls,
        draining,
        at_random,
    ],
    ids=lambda script: script.__name__,
)
def test_both_paths_do_the_same(start, caplog, script):
    seen = []
    for interceptors in ((), (by_itself,)):
        caplog.clear()
        with caplog.at_level(logging.INFO, "fastsock.rpc"):
            options = {"calls_max": CALLS_MAX, "body_bytes_max": 1 << 20}
            server = start(Ways(), interceptors=interceptors, **options)
            told = observed(server, script)
        told["logged"] = [(record.levelname, record.args[:2]) for record in caplog.records]
        seen.append(told)
    for name in seen[0]:
        assert seen[0][name] == seen[1][name], name
    assert seen[0]["answers"]


@pytest.mark.parametrize("interceptors", [(), (by_itself,)], ids=["plain", "intercepted"])
def test_a_deadline_holds_while_arguments_are_decoded(start, interceptors):
    server = start(Ways(), interceptors=interceptors)
    with RawClient(server.address) as client:
        client.call(1, "late", [1], remaining=20_000)
        answer = client.hear_answer(1)
        assert (answer.kind, answer.value[0]) == (raw.ERROR, 10)
        client.call(2, "late", [2], remaining=60_000_000)
        assert client.result(2) == 2
    assert server.service.ran == ["late"]
