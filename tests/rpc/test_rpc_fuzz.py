"""fastsock.rpc fed with mutations of what real clients and servers have said."""

import random
import struct
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
import rpc_raw as raw
from calls import Call
from conftest import WAIT, read_to_end, wait_until
from fuzz_rpc import fuzz
from rpc_ends import resident_bytes
from rpc_raw import LyingServer, Proxy, RawClient

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

MEMORY = 96 << 20
"""Bytes by which the process may grow in a test."""


class Store(rpc.Service):
    """Methods that end soon, whatever their arguments."""

    @rpc.method(inline=True)
    def add(self, a: float, b: float = 1.0) -> float:
        return a + b

    @rpc.method
    def echo(self, data: bytes, names: dict[str, list[int | None]]) -> bytes:
        return data

    @rpc.method
    def double(self, x: np.ndarray) -> np.ndarray:
        return x

    @rpc.method
    def count(self, end: int) -> Iterator[int]:
        yield from range(end)

    @rpc.method
    async def tick(self, end: int) -> AsyncIterator[str]:
        for number in range(end):
            yield str(number)

    @rpc.method(oneway=True)
    def log(self, line: str) -> None:
        pass

    @rpc.method(idempotent=True)
    async def task(self, value: tuple[int, str] | None) -> str:
        return str(value)

    @rpc.method(raises=[KeyError])
    def fail(self, key: str) -> None:
        raise KeyError(key)


def use(store):
    """One call of each kind; what comes of it as a list."""
    results: list[object] = [store.add(1, 2), store.add.begin(3, b=4).result(WAIT)]
    results.append(store.echo(b"x" * 100_000, {"a": [1, None], "b": []}))
    results.append(store.double(np.arange(20_000.0)).sum())
    results.append(store.double(np.zeros((2, 0), ">i2")).shape)
    results.append([*store.count(600), *store.tick(70)])
    stream = store.count.begin(10**6)
    results.append(next(stream))
    stream.close()
    store.log.begin("a line").result(WAIT)  # So that its answer is recorded, too.
    with rpc.metadata(user="ann"):
        results.append(store.task((1, "one")))
    with pytest.raises(KeyError):
        store.fail("there is none")
    return results


@pytest.fixture
def recorded(start, stub):
    """What a client says to a server and what it is answered, in that order of frames."""
    said: dict[str, bytearray] = {"up": bytearray(), "down": bytearray()}

    def record(direction):
        def pass_on(pair, data):
            said[direction] += data
            return data

        return pass_on

    with Proxy(start(Store()).address, up=record("up"), down=record("down")) as proxy:
        store = stub(proxy, Store)
        use(store)
        store.close()
    return {direction: cut_into_frames(bytes(data)) for direction, data in said.items()}


def cut_into_frames(data):
    frames = []
    while len(data) >= 4:
        size = 4 + struct.unpack_from(">I", data)[0]
        frames.append(data[:size])
        data = data[size:]
    return frames


class Mutator:
    """Changes recorded frames at random; the same seed makes the same changes."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def mutate(self, frames):
        """The bytes of the frames with one to six changes. The hello mostly stays as it is."""
        frames = list(frames)
        first = 0 if self.random.random() < 0.1 else 1
        for _ in range(self.random.randrange(1, 7)):
            change = self.random.choice([self.flip, self.length, self.body, self.cut, self.order])
            change(frames, first)
        return b"".join(frames)

    def pick(self, frames, first):
        return self.random.randrange(first, len(frames)) if len(frames) > first else 0

    def flip(self, frames, first):
        """A bit, mostly of the header, where it hurts."""
        at = self.pick(frames, first)
        frame = bytearray(frames[at])
        if len(frame) < 6:
            return  # What another change has left of it.
        most = min(len(frame), 60) if self.random.random() < 0.8 else len(frame)
        frame[self.random.randrange(min(4, most - 1), most)] ^= 1 << self.random.randrange(8)
        frames[at] = bytes(frame)

    def length(self, frames, first):
        at = self.pick(frames, first)
        size = self.random.choice([0, 1, 23, 24, 25, 100, 1 << 16, 1 << 18, 1 << 31, 0xFFFFFFFF])
        frames[at] = struct.pack(">I", size) + frames[at][4:]

    def body(self, frames, first):
        """Random bytes in place of a payload, with a length that fits."""
        at = self.pick(frames, first)
        data = frames[at][4:28] + self.random.randbytes(self.random.randrange(200))
        frames[at] = struct.pack(">I", len(data)) + data

    def cut(self, frames, first):
        """The end of a frame, or all frames from one on, is missing."""
        at = self.pick(frames, first)
        if self.random.random() < 0.5:
            frames[at] = frames[at][: self.random.randrange(len(frames[at]))]
        elif at > first:
            del frames[at:]

    def order(self, frames, first):
        """A frame comes twice, or two change places."""
        one, other = self.pick(frames, first), self.pick(frames, first)
        if self.random.random() < 0.5:
            frames.insert(one, frames[other])
        else:
            frames[one], frames[other] = frames[other], frames[one]


def feed(address, data):
    """Says it all and listens to the end."""
    with RawClient(address, greet=False) as client:
        try:
            client.sock.sendall(data)
            client.sock.shutdown(1)
            read_to_end(client.sock)
        except ConnectionError:
            pass  # The server has had enough.


@pytest.mark.parametrize("seed", range(4))
def test_a_server_survives_mutated_traffic(start, stub, recorded, seed, caplog):
    """And a well-behaved client beside it notices nothing."""
    server = start(Store(), session_seconds=0.01, body_bytes_max=1 << 22)
    friend = stub(server, Store, timeout=WAIT)
    expected = str(use(friend))
    before = resident_bytes()
    mutator = Mutator(seed)
    for number in range(100):
        feed(server.address, mutator.mutate(recorded["up"]))
        if number % 20 == 0:
            assert str(use(friend)) == expected
    assert str(use(friend)) == expected
    assert resident_bytes() - before < MEMORY
    wait_until(lambda: visited(server) and server.health()["running"] == 0, "nothing runs")
    assert server.health()["sessions"] <= 3
    assert "handler failed" not in caplog.text, "an exception that nobody has thought of"


def visited(server):
    """Says hello, which is when a server looks for sessions whose time is over."""
    with RawClient(server.address) as client:
        return client.hello.kind == 1


@pytest.mark.parametrize("seed", range(4))
def test_traffic_in_pieces_of_any_size_is_understood(start, recorded, seed):
    """All plain calls are answered as before; the client's goodbye is left out."""
    greeting, *said_then = recorded["up"]
    said = b"".join(each for each in said_then if each[4] not in (raw.CANCEL, raw.BYE))
    cancelled = {call_of(each) for each in recorded["up"] if each[4] == raw.CANCEL}
    answers = [each for each in recorded["down"] if each[4] in (raw.REPLY, raw.ERROR)]
    expected = [each[4] for each in answers if call_of(each) not in cancelled]
    source = random.Random(seed)
    with RawClient(start(Store()).address, greet=False) as client:
        client.say(greeting)  # A client waits for the server's hello; a stranger may send little.
        assert client.hear().kind == raw.HELLO
        heard: list[int] = []
        reader = Call(lambda: listen(client, heard, len(expected)))
        while said:
            size = source.randrange(1, 3000)
            client.sock.sendall(said[:size])
            said = said[size:]
        reader.wait_result()
    assert sorted(heard) == sorted(expected)


def call_of(data):
    return raw.Frame(data[4:]).call


def listen(client, heard, count):
    """Hears the answers of so many plain calls."""
    while len(heard) < count:
        answer = client.hear()
        if answer.kind in (raw.REPLY, raw.ERROR):
            heard.append(answer.kind)


@pytest.mark.parametrize("seed", range(4))
def test_a_client_survives_mutated_answers(stub, recorded, seed):
    """Its calls end, with a result of the right type or an error of this package."""
    mutator = Mutator(seed)
    spoken: list[bytes] = []

    def script(peer, turn):
        peer.hear()
        peer.say(spoken[-1])
        while peer.hear() is not None:
            pass

    before = resident_bytes()
    with LyingServer(script) as liar:
        for _ in range(12):
            spoken.append(mutator.mutate(recorded["down"]))
            try:
                store = stub(liar, Store, timeout=0.05, retry=0.01, connect_timeout=0.05)
            except rpc.RpcError:
                continue
            forms = {
                float: lambda store=store: store.add(1, 2),
                bytes: lambda store=store: store.echo(b"", {}),
                np.ndarray: lambda store=store: store.double.begin(np.zeros(2)).result(WAIT),
                list: lambda store=store: list(store.count(3)),
                str: lambda store=store: store.task(None),
            }
            for kind, form in forms.items():
                outcome = Call(form).wait_result()
                assert isinstance(outcome, kind | rpc.RpcError | KeyError), repr(outcome)
            store.close()
    assert resident_bytes() - before < MEMORY


def test_made_up_values_and_frames_end_in_time_without_surprise():
    """A short run of what ``make fuzz`` does, with the time limit of tests."""
    assert fuzz(WAIT, seed=1, input_seconds=WAIT, count=200) > 0
