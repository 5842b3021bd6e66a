"""fastsock.rpc: no client costs the others more than its share, and nothing stays for ever."""

import asyncio
import logging
import random
import secrets
import socket
import struct
import threading
import time
from contextlib import suppress

import pytest
import rpc_raw as raw
from conftest import WAIT, read_to_end, wait_until
from rpc_ends import Server, wait_running
from rpc_raw import RawClient, frame, pack

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

OVERLOADED, BAD_REQUEST = 8, 5


# ---- Who says nothing ----


def test_silent_connections_make_room(start, stub, closing):
    server = start(connections_max=4, greeting_seconds=1.0)
    for _ in range(8):
        closing.enter_context(socket.create_connection(server.address))
    assert stub(server, connect_timeout=WAIT).add(1, 2) == 3


def test_silent_connections_that_take_all_descriptors_make_room(stub, closing):
    """The caller waits in the backlog, and is not refused: those that say nothing go."""
    with Server("rpc_server.py", descriptors=80) as process:
        address = "127.0.0.1", int(process.port)
        for _ in range(100):
            closing.enter_context(socket.create_connection(address))
        assert stub(address, retry=0, connect_timeout=WAIT).add(1, 2) == 3


def test_a_silent_connection_ends_on_a_quiet_server(start, closing):
    server = start(greeting_seconds=0.2)
    silent = closing.enter_context(socket.create_connection(server.address, timeout=WAIT))
    assert read_to_end(silent) == b""


def test_a_stranger_sends_little(start, closing):
    """A frame that a greeted client may send is refused by its length."""
    server = start()
    stranger = closing.enter_context(socket.create_connection(server.address, timeout=WAIT))
    stranger.sendall(struct.pack(">I", 1 << 16) + b"x")
    assert read_to_end(stranger) == b""
    with RawClient(server.address) as client:
        client.call(1, "echo", bytes(60_000))
        assert client.result(1) == bytes(60_000)


# ---- Who has gone ----


def test_calls_of_a_client_that_has_gone_end_on_a_quiet_server(start):
    server = start(session_seconds=0.2)
    with RawClient(server.address) as client:
        client.call(1, "wait", "gone")
        wait_running(server, 1)
    wait_until(lambda: server.service.ended == ["gone cancelled"], "it is cancelled")
    wait_until(lambda: server.health()["sessions"] == 0, "the session is forgotten")
    wait_running(server, 0)


def test_calls_that_wait_do_not_begin_after_a_goodbye(start):
    server = start(threads_max=1)
    with RawClient(server.address) as other, RawClient(server.address) as client:
        other.call(1, "wait", "takes the only thread")
        wait_running(server, 1)
        for number in range(1, 11):
            client.call(number, "pooled", number)
        wait_running(server, 11)
        client.say(frame(raw.BYE))
        wait_running(server, 1)
        server.service.gate.set()
        other.result(1)
    assert server.service.begun == ["takes the only thread"]


def test_calls_without_their_bodies_are_not_remembered_without_end(start):
    """They are sent again when the client is back; the oldest of too many are not expected."""
    server = start(calls_max=4)
    session, number = secrets.token_bytes(16), 0
    for turn in range(20):
        with RawClient(server.address, session=session, resume=turn > 0) as client:
            assert client.hello.kind == raw.HELLO
            assert len(client.hello.value[6]) <= 4
            for _ in range(4):
                number += 1
                start_of_body = struct.pack(">Q", 1000)
                method = client.methods["echo"][0]
                client.say(frame(raw.CALL, number, start_of_body, flags=raw.MORE, method=method))
            client.say(frame(raw.PING))
            assert client.hear().kind == raw.PONG
    with RawClient(server.address, session=session, resume=True) as client:
        assert client.hello.value[4] is True
        assert len(client.hello.value[6]) <= 4


# ---- Who asks much ----


def test_clients_take_turns_in_the_pool(start):
    """One that comes behind a hundred calls of another is served after a few of them."""

    class Steps(rpc.Service):
        def __init__(self):
            self.order: list[str] = []
            self.gate = threading.Semaphore(0)

        @rpc.method
        def step(self, name: str) -> int:
            self.gate.acquire(timeout=WAIT)
            self.order.append(name)
            return 1

    steps = Steps()
    server = start(steps, threads_max=1)
    with RawClient(server.address) as loud, RawClient(server.address) as quiet:
        for number in range(1, 101):
            loud.call(number, "step", "loud")
        wait_running(server, 100)
        quiet.call(1, "step", "quiet")
        wait_running(server, 101)
        for _ in range(101):
            steps.gate.release()
        wait_running(server, 0)
    assert steps.order.index("quiet") <= 2


def test_what_all_clients_hold_is_bounded(start, closing, caplog):
    server = start(body_bytes_max=1 << 20, held_bytes_max=2 << 20)
    clients = [closing.enter_context(RawClient(server.address)) for _ in range(8)]
    with caplog.at_level(logging.WARNING, "fastsock.rpc"):
        for client in clients:
            first = struct.pack(">Q", 1 << 20) + bytes(60_000)
            client.say(frame(raw.CALL, 1, first, flags=raw.MORE, method=client.methods["echo"][0]))
            client.say(*(frame(raw.CHUNK, 1, bytes(60_000)) for _ in range(15)))
            client.say(frame(raw.PING))
            while client.hear().kind != raw.PONG:
                pass
        assert server._skeleton.budget.held_bytes <= 2 << 20
        assert "held_bytes_max is 2097152" in caplog.text
    with RawClient(server.address) as friend:
        friend.call(1, "pooled", 5)
        assert friend.result(1) == 5
        friend.say(frame(raw.BYE))
    for client in clients:
        client.say(frame(raw.BYE))
    wait_until(lambda: server._skeleton.budget.held_bytes == 0, "all is given back")


def test_kept_answers_of_clients_that_are_away_are_bounded_and_freed_by_time(start):
    limit = 256 << 10
    server = start(body_bytes_max=1 << 16, held_bytes_max=limit, session_seconds=1.0)
    budget = server._skeleton.budget
    for _ in range(4):
        with RawClient(server.address) as client:
            for number in range(1, 9):
                client.call(number, "echo", bytes(30_000))
                client.result(number)
            wait_until(lambda: budget.held_bytes > 30_000, "answers count")
            assert budget.held_bytes <= limit
    with RawClient(server.address) as friend:
        friend.call(1, "pooled", 5)
        assert friend.result(1) == 5
    wait_until(lambda: budget.held_bytes == 0, "all is given back")


def test_answers_of_clients_that_are_away_go_before_calls_are_refused(start, caplog):
    server = start(body_bytes_max=1 << 18, held_bytes_max=1 << 20)
    budget = server._skeleton.budget
    with caplog.at_level(logging.WARNING, "fastsock.rpc"):
        for _ in range(20):
            with RawClient(server.address) as client:
                for number in range(1, 5):
                    client.call(number, "echo", bytes(30_000))
                    client.result(number)
        wait_until(lambda: all(each.away for each in server._sessions.all()), "all left")
        assert budget.held_bytes > 3 << 18
        with RawClient(server.address) as friend:
            body = pack([bytes(250_000)])
            method = friend.methods["echo"][0]
            first = struct.pack(">Q", len(body)) + body[:60_000]
            friend.say(frame(raw.CALL, 1, first, flags=raw.MORE, method=method))
            rest = range(60_000, len(body), 60_000)
            friend.say(*(frame(raw.CHUNK, 1, body[at : at + 60_000]) for at in rest))
            assert friend.hear_answer(1).kind == raw.REPLY
    assert budget.held_bytes <= budget.bytes_max
    assert "no room for" in caplog.text


def test_nobody_gives_way_to_what_does_not_fit_at_all(start):
    """A client that asks for more than there can be for one takes nothing from others."""
    server = start(body_bytes_max=1 << 20, held_bytes_max=1 << 20)
    budget = server._skeleton.budget
    with RawClient(server.address) as client:
        for number in range(1, 4):
            client.call(number, "echo", bytes(30_000))
            client.result(number)
    wait_until(lambda: all(each.away for each in server._sessions.all()), "it has left")
    held = budget.held_bytes
    with RawClient(server.address):
        [away] = [each for each in server._sessions.all() if each.away]
        [here] = [each for each in server._sessions.all() if not each.away]
        assert not budget.take(here, budget.bytes_max + 1)
    assert away.held_bytes == held


def test_the_largest_holder_gives_way(start, closing, caplog):
    """What it has not finished saying is refused, not the little that another one says."""
    server = start(body_bytes_max=1 << 20, held_bytes_max=1 << 20)
    budget = server._skeleton.budget
    with caplog.at_level(logging.WARNING, "fastsock.rpc"):
        for _ in range(10):  # Each takes nearly half of what is left.
            client = closing.enter_context(RawClient(server.address))
            size = (budget.bytes_max - budget.held_bytes) // 2 - 100
            first = struct.pack(">Q", 1 << 20)
            client.say(frame(raw.CALL, 1, first, flags=raw.MORE, method=client.methods["echo"][0]))
            for at in range(0, size, 60_000):
                client.say(frame(raw.CHUNK, 1, bytes(min(60_000, size - at))))
            client.say(frame(raw.PING))
            assert client.hear().kind == raw.PONG
        assert budget.bytes_max - budget.held_bytes < 10_000
        for number in range(20):
            with RawClient(server.address) as friend:
                friend.call(1, "echo", bytes(20_000))
                assert friend.result(1) == bytes(20_000), number
    assert budget.held_bytes <= budget.bytes_max
    assert "no room for" in caplog.text


def test_calls_that_wait_give_way_to_those_of_clients_with_fewer(start, closing):
    server = start(threads_max=1, body_bytes_max=1 << 18, held_bytes_max=1 << 18)
    greedy = [closing.enter_context(RawClient(server.address)) for _ in range(8)]
    greedy[0].call(1, "wait", "takes the only thread")
    wait_running(server, 1)
    for client in greedy:
        client.say(*(client.call_frame(number, "echo", bytes(5000)) for number in range(2, 60)))
        client.say(frame(raw.PING))
        while client.hear().kind != raw.PONG:
            pass
    friends = [closing.enter_context(RawClient(server.address)) for _ in range(4)]
    for friend in friends:
        friend.call(1, "echo", bytes(2000))
        friend.say(frame(raw.PING))
        assert friend.hear().kind == raw.PONG, "it waits, and is not refused"
    server.service.gate.set()
    for friend in friends:
        assert friend.result(1) == bytes(2000)
    wait_running(server, 0)


def babble(client: RawClient, chosen: random.Random) -> None:
    """Calls of all kinds, unfinished ones, and whatever else a client may say, without reading."""
    method, streams, total = client.methods["echo"][0], client.methods["count"][0], 50_000
    say = {
        "whole": lambda n: client.call_frame(n, "echo", bytes(chosen.randrange(40_000))),
        "begun": lambda n: frame(
            raw.CALL, n, struct.pack(">Q", total) + bytes(1000), flags=raw.MORE, method=method
        ),
        "more": lambda n: frame(raw.CHUNK, n, bytes(chosen.randrange(30_000))),
        "stream": lambda n: frame(raw.CALL, n, pack([50, -1, 5000]), method=streams),
        "cancel": lambda n: frame(raw.CANCEL, n),
        "ack": lambda n: frame(raw.ACK, payload=struct.pack(">Q", n)),
        "credit": lambda n: frame(raw.CREDIT, n % 2 * n, amount=100_000, remaining=100_000),
    }
    with suppress(OSError):  # It has been closed.
        for _ in range(200):
            client.say(say[chosen.choice([*say])](chosen.randrange(1, 60)))
        if chosen.random() < 0.5:
            client.say(frame(raw.BYE))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_clients_say_all_is_given_back(start, seed):
    limits = {"body_bytes_max": 1 << 17, "held_bytes_max": 1 << 18, "calls_max": 16}
    server = start(**limits, session_seconds=0.1, threads_max=2)
    budget = server._skeleton.budget

    def talk(number: int) -> None:
        chosen = random.Random(f"{seed} {number}")
        session = secrets.token_bytes(16)
        for turn in range(4):
            with RawClient(server.address, session=session, resume=turn > 0) as client:
                babble(client, chosen)

    talkers = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for talker in talkers:
        talker.start()
    while any(talker.is_alive() for talker in talkers):
        assert 0 <= budget.held_bytes <= budget.bytes_max
        talkers[-1].join(0.01)
    for talker in talkers:
        talker.join()
    wait_until(lambda: server.health()["sessions"] == 0, "they are forgotten")
    wait_running(server, 0)
    wait_until(lambda: budget.held_bytes == 0, "all is given back")
    assert not budget._holders


def test_answers_that_the_client_has_are_not_held(start):
    server = start()
    budget = server._skeleton.budget
    with RawClient(server.address) as client:
        for number in range(1, 101):
            client.call(number, "record", "x")
            client.result(number)
        assert budget.held_bytes >= 100
        client.say(frame(raw.ACK, payload=struct.pack(">100Q", *range(1, 101))))
        wait_until(lambda: budget.held_bytes <= 4 << 12, "they are given back")
        client.say(frame(raw.BYE))
        wait_until(lambda: budget.held_bytes == 0, "and the rest")


def test_an_ack_names_no_more_calls_than_are_kept(start):
    with RawClient(start().address) as client:
        client.say(frame(raw.ACK, payload=bytes(8 * 1025)))
        refused = client.hear()
        assert (refused.kind, refused.value[0]) == (raw.REFUSED, BAD_REQUEST)


@pytest.mark.parametrize("metadata", [{"k": "x" * 9000}, {str(n): "" for n in range(400)}])
def test_metadata_is_bounded(start, metadata):
    server = start()
    with RawClient(server.address, metadata=metadata) as client:
        assert client.hello.kind == raw.REFUSED
        assert "metadata_bytes_max is 8192" in client.hello.value[2]
    with RawClient(server.address, metadata={"user": "ann"}) as client:
        own = pack(metadata)
        body = struct.pack(">H", len(own)) + own + pack([])
        told = client.methods["told"][0]
        client.say(frame(raw.CALL, 1, body, flags=raw.METADATA, method=told))
        assert client.hear_answer(1).value[0] == BAD_REQUEST
        own = pack({"trace": "1"})
        body = struct.pack(">H", len(own)) + own + pack([])
        client.say(frame(raw.CALL, 2, body, flags=raw.METADATA, method=told))
        assert client.result(2) == {"user": "ann", "trace": "1"}


def test_a_flood_of_frames_leaves_others_their_turn(start):
    """A few of its frames are handled before another client's, not all that have arrived."""
    order: list[str] = []

    class Notes(rpc.Service):
        def __init__(self):
            self.gate = threading.Event()

        @rpc.method(inline=True)
        def note(self, name: str) -> int:
            self.gate.wait(WAIT)  # Until both clients have said what they have to say.
            order.append(name)
            return 1

    notes = Notes()
    server = start(notes)
    with RawClient(server.address) as loud, RawClient(server.address) as quiet:
        for number in range(1, 1001):
            loud.call(number, "note", "loud")
        quiet.call(1, "note", "quiet")
        notes.gate.set()
        quiet.result(1)
        loud.result(1000)
    assert order.index("quiet") <= 200


def test_a_flood_of_long_calls_leaves_others_their_turn(start):
    """The longer they take, the fewer of them are handled before another client's."""
    order: list[str] = []

    class Notes(rpc.Service):
        def __init__(self):
            self.met, self.gate = threading.Event(), threading.Event()

        @rpc.method(inline=True)
        def note(self, name: str) -> int:
            until = time.monotonic() + 0.0005
            while time.monotonic() < until:
                pass
            order.append(name)
            if len(order) == 70:  # In the second turn.
                self.met.set()
                self.gate.wait(WAIT)
            return 1

    notes = Notes()
    server = start(notes)
    with RawClient(server.address) as loud, RawClient(server.address) as quiet:
        loud.say(*(loud.call_frame(number, "note", "loud") for number in range(1, 141)))
        assert notes.met.wait(WAIT)
        quiet.call(1, "note", "quiet")
        notes.gate.set()
        quiet.result(1)
        loud.result(140)
    assert order.index("quiet") <= 80


# ---- Threads that cannot be had, and methods that go too far ----


def test_a_server_that_can_start_no_thread_answers_later(start, monkeypatch):
    server = start()
    with RawClient(server.address) as client:

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            client.call(1, "pooled", 1)
            assert client.hear_answer(1).value[0] == OVERLOADED
            client.call(2, "sleep", 0.0, "x")
            assert client.hear_answer(2).value[0] == OVERLOADED
        client.call(3, "pooled", 3)
        assert client.result(3) == 3
        client.call(4, "sleep", 0.0, "x")
        assert client.result(4) == "x"
    server.close()


def test_the_server_logs_what_a_method_did_not_expect(start, stub, caplog):
    shop = stub(start())
    with caplog.at_level(logging.ERROR, "fastsock.rpc"), pytest.raises(rpc.RemoteError):
        shop.take(1)
    [record] = [record for record in caplog.records if "take failed" in record.getMessage()]
    assert record.name == "fastsock.rpc"
    assert record.exc_info[0] is KeyError


def test_a_task_that_exits_leaves_the_event_loop_running(start, stub):
    class Exits(rpc.Service):
        @rpc.method
        async def leave(self) -> int:
            asyncio.get_running_loop().call_soon(lambda: (_ for _ in ()).throw(SystemExit(1)))
            return 1

    server = start(Exits())
    exits = stub(server, Exits, timeout=WAIT)
    assert [exits.leave() for _ in range(3)] == [1, 1, 1]


class Ends(rpc.Service):
    """Ends its own server."""

    server: rpc.Server

    @rpc.method
    def stop(self) -> str:
        self.server.close()
        return "stopped"

    @rpc.method
    async def stop_async(self) -> str:
        self.server.close()
        return "stopped"

    @rpc.method(inline=True)
    def stop_inline(self) -> str:
        self.server.close()
        return "stopped"

    @rpc.method
    def drain(self) -> str:
        self.server.drain(WAIT)
        return "drained"


@pytest.mark.parametrize("form", ["stop", "stop_async"])
def test_a_method_may_close_its_server(start, stub, form):
    ends = Ends()
    ends.server = server = start(ends)
    assert getattr(stub(server, Ends, timeout=WAIT), form)() == "stopped"
    assert server.wait(WAIT)
    server.close()


def test_a_method_may_drain_its_server(start, stub):
    ends = Ends()
    ends.server = server = start(ends)
    shop = stub(server, Ends, timeout=WAIT)
    with pytest.raises(rpc.RemoteError, match="inline method runs in the thread"):
        shop.stop_inline()
    assert shop.drain() == "drained"
    assert server.draining


def test_first_mistakes_get_the_right_words():
    class One(rpc.Service):
        @rpc.method
        def one(self) -> int:
            return 1

    async def intercept(context, proceed):
        return proceed()

    with pytest.raises(TypeError, match=r"serve One\(\), an object"):
        rpc.serve(One)
    with pytest.raises(TypeError, match=r"intercept\(\) is async, and nobody awaits it.* one\(\)"):
        rpc.serve(One(), interceptors=[intercept])
