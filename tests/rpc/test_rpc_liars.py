"""fastsock.rpc against servers that lie: an error, soon, and whoever reads for others lives on."""

import struct
import time

import pytest
import rpc_raw as raw
from calls import Call
from conftest import WAIT
from rpc_ends import resident_bytes
from rpc_raw import LyingServer, Peer, RawClient, frame, pack, server_hello
from rpc_shop import Shop

from fastsock import rpc

pytest_plugins = ("rpc_fixtures",)

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
