"""Calls that are interrupted wherever they are: no byte is lost, sent twice or out of order."""

import random
import signal
import threading
import time

import pytest
from calls import Call
from conftest import WAIT, wait_until
from rpc_raw import Proxy

from fastsock import rpc
from fastsock.rpc.client.link import Link

pytest_plugins = ("rpc_fixtures",)

STORM_SECONDS = 1.0


class Checked(rpc.Service):
    """Notes each body that is not what its first bytes say."""

    def __init__(self) -> None:
        self.wrong: list[int] = []
        self.seen: list[int] = []

    @rpc.method
    def take(self, number: int, body: bytes) -> int:
        self.seen.append(number)
        if body != content(number, len(body)):
            self.wrong.append(number)
        return number

    @rpc.method(inline=True)
    def short(self, number: int, body: bytes) -> int:
        return self.take(number, body)


def content(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(256) * (size // 256)


class Frames:
    """Reads what goes to the server, and notes what is no frame of a client."""

    def __init__(self):
        self.wrong = []
        self.rest = {}

    def up(self, pair, data):
        rest = self.rest.get(pair, b"") + data
        while len(rest) >= 4 and len(rest) >= 4 + (size := int.from_bytes(rest[:4])):
            if not 24 <= size <= 1 << 18 or not 1 <= rest[4] <= 20:
                self.wrong.append(rest[:32])
                return None
            rest = rest[4 + size :]
        self.rest[pair] = rest
        return data


class Interrupted(BaseException):
    """What Ctrl-C raises is one like this."""


@pytest.mark.parametrize("kind", [Interrupted, TimeoutError])
def test_a_storm_of_signals_among_calls(start, stub, kind):
    """Handlers that raise, also what the library itself raises, at any moment of any call."""
    service, frames = Checked(), Frames()
    server = start(service)
    over, armed = threading.Event(), False

    def handler(*_):
        nonlocal armed
        if armed:  # Once in a call: what ends it is not interrupted again.
            armed = False
            raise kind("a signal")

    def storm():
        pause, chance = threading.Event(), random.Random(4)
        while not over.is_set():
            pause.wait(chance.choice((0.0002, 0.001, 0.005)))
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, handler)
    interrupted = done = 0
    chance = random.Random(7)
    with Proxy(server.address, up=frames.up) as proxy:
        shop = stub(proxy, Checked, timeout=WAIT)
        storming = Call(storm)
        try:
            begun = time.monotonic()
            number = 0
            while (passed := time.monotonic() - begun) < STORM_SECONDS or not (
                (interrupted > 10 and done > 10) or passed > WAIT
            ):
                number += 1
                size = chance.choice((0, 256, 256, 70_000 // 256 * 256, 1 << 20))
                method = chance.choice((shop.take, shop.short))
                body = content(number, size)
                try:
                    armed = True
                    if chance.random() < 0.5:
                        result = method(number, body)
                    else:
                        result = method.begin(number, body).result()
                    armed = False
                except kind as error:
                    armed = False
                    assert not isinstance(error, rpc.DeadlineExceeded), "the call never ended"
                    assert "a signal" in str(error)
                    interrupted += 1
                except (rpc.OutcomeUnknown, rpc.Unavailable, rpc.ConnectionLost) as error:
                    armed = False
                    assert "interrupted" in str(error), error
                else:
                    assert result == number
                    done += 1
        finally:
            armed = False
            over.set()
            storming.wait_result()
            signal.signal(signal.SIGUSR2, before)
        for last in range(10):
            assert shop.take(10**6 + last, content(10**6 + last, 1 << 18)) == 10**6 + last
        link = shop._rpc_connector.link
        wait_until(lambda: not link.pending and not link.abandoned, "no place is lost")
    assert interrupted > 10
    assert done > 10
    assert not frames.wrong, "what goes to the server are frames"
    assert not service.wrong, "bodies are whole"
    assert len(service.seen) == len(set(service.seen)), "no call runs twice"


def test_a_call_that_ends_while_it_moves_keeps_no_place(start, stub, monkeypatch):
    server = start(Checked())
    moved, adopt = [], Link.adopt

    def adopt_late(link, call):
        call.cancel()
        moved.append(call)
        adopt(link, call)

    monkeypatch.setattr(Link, "adopt", adopt_late)
    came = 0

    def up(pair, data):
        nonlocal came
        came += len(data)
        return None if pair is proxy.pairs[0] and came > 1 << 17 else data

    with Proxy(server.address, up=up) as proxy:
        shop = stub(proxy, Checked)
        call = shop.take.begin(1, content(1, 1 << 20))
        with pytest.raises(rpc.Cancelled):
            call.result(WAIT)
        assert shop.take(2, b"") == 2
        assert moved == [call]
        link = shop._rpc_connector.link
        wait_until(lambda: not link.pending and not link.abandoned, "no place is lost")
