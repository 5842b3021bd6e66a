"""The token: both ends prove that they know it, and nobody else learns or uses anything."""

import socket
import struct
from contextlib import ExitStack

import msgspec
import pytest
import rpc_raw as raw
from conftest import WAIT
from rpc_raw import LyingServer, Proxy, RawClient, frame, pack, unpack

from fastsock import net, rpc
from fastsock.rpc import errors, wire
from fastsock.rpc.wire.handshake import Challenged, Challenger, tcp_name

TOKEN = "a token that nobody guesses"
CHALLENGE, PROOF = 16, 17


class Greeter(rpc.Service):
    """Says what it was told beside the arguments."""

    @rpc.method
    def told(self) -> dict[str, str]:
        return dict(rpc.current().metadata)


@pytest.fixture
def closing():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(closing):
    def make(address=("127.0.0.1", 0), **options):
        options = {"token": TOKEN, "linger": 0.2} | options
        return closing.enter_context(rpc.serve(Greeter(), address, **options))

    return make


@pytest.fixture
def server(serve):
    return serve()


def connect(address, **options):
    return rpc.connect(Greeter, address, **({"token": TOKEN, "timeout": WAIT} | options))


class Recorder(Proxy):
    """A proxy that keeps what it has passed on, in each direction."""

    def __init__(self, target):
        self.went = {"up": bytearray(), "down": bytearray()}
        super().__init__(target, up=self.record("up"), down=self.record("down"))

    def record(self, way):
        def passed(pair, data):
            self.went[way] += data
            return data

        return passed


def frames_of(data):
    """The kinds and payloads of the frames in these bytes."""
    found, at = [], 0
    while at + 4 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4], bytes(data[at + 4 + raw.HEADER.size : at + 4 + size])))
        at += 4 + size
    return found


def test_both_ends_with_the_token_talk(server):
    with connect(server.address, metadata={"who": "me"}) as stub:
        assert stub.told() == {"who": "me"}


def test_over_a_unix_socket(serve, tmp_path):
    server = serve(str(tmp_path / "socket"))
    with connect(server.address) as stub:
        assert stub.told() == {}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_by_name_and_by_number_at_a_server_for_any_address(serve, host):
    server = serve(("0.0.0.0", 0))
    with connect((host, server.address[1])) as stub:
        assert stub.told() == {}


@pytest.mark.parametrize("theirs, ours", [(TOKEN, "other"), (TOKEN, ""), ("", TOKEN), ("é", "e")])
def test_ends_that_do_not_share_the_token_do_not_talk(serve, theirs, ours):
    server = serve(token=theirs)
    with pytest.raises(rpc.Forbidden, match="token"):
        connect(server.address, token=ours)


def test_the_token_and_what_is_said_beside_it_stay_off_the_wire(serve):
    port = net.free_port()
    with Recorder(("127.0.0.1", port)) as proxy:
        serve(("127.0.0.1", port), advertise=proxy.address)
        with connect(proxy.address) as stub:
            stub.told()
        up, down = proxy.went["up"], proxy.went["down"]
    assert [kind for kind, _ in frames_of(up)[:2]] == [CHALLENGE, raw.HELLO]
    assert [kind for kind, _ in frames_of(down)[:2]] == [PROOF, raw.HELLO]
    assert TOKEN.encode() not in up and TOKEN.encode() not in down


def test_a_listener_without_the_token_hears_nothing_of_the_client():
    heard = []

    def listen(peer, turn):
        heard.append(peer.hear())
        nonce, name = b"n" * 32, heard[0].value[4][0]
        peer.say(frame(PROOF, payload=pack([1, "Greeter", "1", b"i" * 16, nonce, name, b"p" * 32])))
        heard.append(peer.hear())

    with LyingServer(listen) as liar, pytest.raises(rpc.Forbidden, match="token is wrong"):
        connect(liar.address, metadata={"secret": "mine"})
    assert [each and each.kind for each in heard] == [CHALLENGE, None]
    assert b"mine" not in heard[0].payload


def test_somebody_in_between_is_found_out(server):
    refused = pytest.raises(rpc.Forbidden, match="is no address of this server.*advertise=")
    with Proxy(server.address) as proxy, refused:
        connect(proxy.address)


def test_somebody_in_between_who_changes_the_address_is_found_out(server):
    """The server then proves another address than the client's."""
    theirs = tcp_name(*server.address)

    def listen(peer, turn):
        challenge = peer.hear().value
        challenge[4] = [theirs]
        with raw.Peer(socket.create_connection(server.address)) as real:
            real.say(frame(CHALLENGE, payload=pack(challenge)))
            proof = real.hear().value
        if turn:
            proof[5] = tcp_name(*liar.address)
        peer.say(frame(PROOF, payload=pack(proof)))
        peer.hear()

    with LyingServer(listen) as liar:
        with pytest.raises(rpc.Forbidden, match="answers for another address"):
            connect(liar.address)
        with pytest.raises(rpc.Forbidden, match="token is wrong"):
            connect(liar.address)


def test_what_was_said_once_is_of_no_use_again(serve):
    port = net.free_port()
    with Recorder(("127.0.0.1", port)) as proxy:
        server = serve(("127.0.0.1", port), advertise=proxy.address)
        connect(proxy.address).close()
        (_, challenge), (_, hello) = frames_of(proxy.went["up"])[:2]
    with RawClient(server.address, greet=False) as replayed:
        replayed.say(frame(CHALLENGE, payload=challenge))
        assert replayed.hear().kind == PROOF
        replayed.say(frame(raw.HELLO, payload=hello))
        answer = replayed.hear()
    assert (answer.kind, answer.value[0]) == (raw.REFUSED, errors.CODE_OF[rpc.Forbidden])


def test_a_proof_that_is_sent_back_is_none(server):
    with RawClient(server.address, greet=False) as client:
        names = [tcp_name(*server.address)]
        client.say(frame(CHALLENGE, payload=pack([1, "", "", b"n" * 32, names])))
        proof = client.hear().value[6]
        client.say(frame(raw.HELLO, payload=pack([1, "", "", b"s" * 16, False, proof, {}])))
        answer = client.hear()
    assert (answer.kind, answer.value[2]) == (raw.REFUSED, "the token is wrong")


def test_the_hello_is_part_of_the_proof():
    """Somebody in between cannot change the session or the metadata."""
    names = ["127.0.0.1:1"]
    client = Challenger(TOKEN, "S", "1", names)
    server = Challenged(TOKEN, client.challenge, "S", "1", b"i" * 16, names)
    client.check(server.proof)
    hello = wire.ClientHello(1, "S", "1", b"s" * 16, False, wire.NO_PROOF, {"a": "b"})
    client.prove(hello)
    proof = wire.proof_of(hello)
    assert server.proves(hello, proof)
    for change in ({"session": b"t" * 16}, {"resume": True}, {"metadata": {"a": "c"}}):
        assert not server.proves(msgspec.structs.replace(hello, **change), proof)
    again = Challenged(TOKEN, client.challenge, "S", "1", b"i" * 16, names)
    assert not again.proves(hello, proof), "another nonce of the server"


def refused(server, *frames):
    """The code and text of what the server answers to these frames; it closes then."""
    with RawClient(server.address, greet=False) as client:
        client.say(*frames)
        answer = client.hear()
        while answer.kind == PROOF:
            answer = client.hear()
        assert (answer.kind, client.hear()) == (raw.REFUSED, None)
        return answer.value[0], answer.value[2]


def hello(proof):
    return frame(raw.HELLO, payload=pack([1, "", "", b"s" * 16, False, proof, {}]))


def test_a_client_of_the_old_greeting_is_told_so(server):
    code, text = refused(server, hello(TOKEN))
    assert code == errors.CODE_OF[rpc.VersionMismatch]
    assert "its token in clear" in text and "newer fastsock" in text


@pytest.mark.parametrize("proof", ["", b"", b"x" * 32])
def test_without_a_challenge_there_is_no_way_in(server, proof):
    assert refused(server, hello(proof))[1].startswith("a token is needed")


@pytest.mark.parametrize(
    "challenge, says",
    [
        ([1, "", "", b"short", ["a:1"]], "nonce of 5 bytes; it must be 32"),
        ([1, "", "", b"n" * 32, []], "no address of this server"),
        ([1, "", "", b"n" * 32, ["a:1"] * 5], "cannot be read"),
        ([1, "", "", b"n" * 32, ["x" * 10_000]], "no address of this server"),
        ([2, "", "", b"n" * 32, ["a:1"]], "protocol 2"),
        ([1, "Other", "1", b"n" * 32, ["a:1"]], "it serves Greeter version 1"),
        ([1, "", "", "text", ["a:1"]], "cannot be read"),
        ([[]] * 3, "cannot be read"),
    ],
)
def test_challenges_that_cannot_be(server, challenge, says):
    _, text = refused(server, frame(CHALLENGE, payload=pack(challenge)))
    assert says in text and len(text) < 1000


def test_a_second_challenge_is_refused(server):
    names = [tcp_name(*server.address)]
    asked = frame(CHALLENGE, payload=pack([1, "", "", b"n" * 32, names]))
    assert refused(server, asked, asked)[1] == "the first frame is not a hello of fastsock.rpc"


@pytest.mark.parametrize("proof", [7, [b""], {"a": 1}])
def test_a_proof_that_is_no_bytes(server, proof):
    assert "proof in the hello" in refused(server, hello(proof))[1]


def test_without_a_token_nothing_is_asked(serve):
    server = serve(token="")
    with Recorder(server.address) as proxy, connect(proxy.address, token="") as stub:
        stub.told()
        kinds = [kind for kind, _ in frames_of(proxy.went["up"])]
    assert CHALLENGE not in kinds and unpack(frames_of(proxy.went["up"])[0][1])[5] == b""


@pytest.mark.parametrize(
    "host, name",
    [
        ("127.0.0.1", "127.0.0.1:7"),
        ("::ffff:127.0.0.1", "127.0.0.1:7"),
        ("::1", "[::1]:7"),
        ("fe80::1%eth0", "[fe80::1]:7"),
        ("server.example", "server.example:7"),
    ],
)
def test_an_address_has_one_name(host, name):
    assert tcp_name(host, 7) == name


@pytest.mark.parametrize(
    ("token", "error"), [(None, TypeError), (b"secret", TypeError), ("\ud800", ValueError)]
)
def test_what_is_no_token_is_refused_and_not_taken_for_none(server, token, error):
    with pytest.raises(error, match="token must be"):
        rpc.serve(Greeter(), token=token)
    with pytest.raises(error, match="token must be"):
        rpc.connect(Greeter, server.address, token=token)
