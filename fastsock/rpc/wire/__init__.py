"""What is on the wire: the frames of the protocol, and the records that some of them hold.

docs/architecture/rpc.md has the protocol. A frame is one message of length framing: a header of 24
bytes, then a payload.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

PROTOCOL = 1

HEADER = struct.Struct(">BBHIQQ")
"""Kind, flags, method, an amount, call, and microseconds that remain (0: no deadline)."""

HEADER_BYTES = HEADER.size


class Header(NamedTuple):
    """The header of a frame. ``extra`` are the microseconds that remain of a CALL (0: no deadline),
    or the bytes that a CREDIT gives a stream."""

    kind: int
    flags: int
    method: int
    amount: int
    call: int
    extra: int


CHUNK_BYTES = 1 << 16
"""The longest payload of a frame; longer bodies come in several."""

FRAME_BYTES_MAX = 1 << 18
"""The longest frame of all: a ServerHello of many methods."""

HELLO = 1  # either way, first: ClientHello, ServerHello
REFUSED = 2  # to the client, instead of a ServerHello: Failure
CALL = 3  # to the server: a body, the arguments
REPLY = 4  # to the client: a body, the result
ERROR = 5  # to the client: Failure
ITEM = 6  # to the client: a body, the next item of a stream
END = 7  # to the client: the end of a stream
CHUNK = 8  # either way: the next bytes of the unfinished body of that call
CANCEL = 9  # to the server: the caller no longer wants the result
CREDIT = 10  # to the server: so many more bytes, or so many more items of a stream
ACK = 11  # to the server: these replies have arrived, u64 numbers of calls
PING = 12  # to the server
PONG = 13  # to the client
DRAIN = 14  # to the client: calls above that number do not begin here, send them elsewhere
BYE = 15  # to the server: the client ends, nobody waits for anything
CHALLENGE = 16  # to the server, before a hello: Challenge; see handshake.py
PROOF = 17  # to the client, in answer: Proof

MORE = 1
"""Flag of a body that goes on in CHUNK frames; u64, how long it is in all, comes before it."""

SEGMENTS = 2
"""Flag of a body with raw segments: see marshal.py."""

METADATA = 4
"""Flag of a CALL whose body begins with a u16 length and a MessagePack map of str to str."""

TOTAL = struct.Struct(">Q")

WINDOW_BYTES = 1 << 20
"""What a server may send that its client has not yet credited."""

STREAM_ITEMS = 256
STREAM_BYTES = 1 << 18
"""What a stream may send that its reader has not yet taken."""


class Challenge(msgspec.Struct, array_like=True):
    """The first frame of a client that has a token. ``service`` "" asks for whatever the server
    serves; ``names`` are what the client calls the address that it has connected to."""

    protocol: int
    service: str
    version: str
    nonce: bytes
    names: Annotated[list[str], msgspec.Meta(max_length=4)]


class Proof(msgspec.Struct, array_like=True):
    """The server's answer to a challenge: who it is, and that it knows the token. ``name`` is the
    one of the client's names that it knows itself by; ``proof`` is empty if it has no token."""

    protocol: int
    service: str
    version: str
    incarnation: bytes
    nonce: bytes
    name: str
    proof: bytes = b""


class ClientHello(msgspec.Struct, array_like=True):
    """The client's hello. ``service`` "" asks for whatever the server serves. ``proof`` is a
    bytes that shows that the client knows the token, else an empty one; see :func:`proof_of`."""

    protocol: int
    service: str
    version: str
    session: bytes
    resume: bool
    proof: msgspec.Raw
    metadata: dict[str, str] = {}


class MethodInfo(msgspec.Struct, array_like=True):
    """A method as the server has it; ``digest`` is that of its signature, ``text`` shows it."""

    id: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
    digest: str
    text: str


class ServerHello(msgspec.Struct, array_like=True):
    """The server's answer. ``incarnation`` is random and of this server's run alone; ``resumed``:
    it still knows the session, whose calls up to number ``highest`` have arrived, but for the
    ``incomplete`` ones."""

    protocol: int
    service: str
    version: str
    incarnation: bytes
    resumed: bool
    highest: int
    incomplete: list[int]
    calls_max: Annotated[int, msgspec.Meta(ge=1)]
    body_bytes_max: int
    methods: dict[str, MethodInfo]


class Failure(msgspec.Struct, array_like=True):
    """Why a call or a hello failed; ``values`` are an exception of the
    method, see failures.py."""

    code: int
    type: str = ""
    message: str = ""
    traceback: str = ""
    values: list[object] | None = None


T = TypeVar("T")


class Malformed(ValueError):
    """Bytes of a peer do not hold what they are to hold; the text says why."""


def checked(decode: Callable[..., T]) -> Callable[..., T]:
    """``decode``, which raises nothing but Malformed. Peers choose the bytes, so whatever they make
    msgspec, numpy or a class of the program raise is a fault of the bytes."""

    def checked_decode(*given: Any) -> T:
        try:
            return decode(*given)
        except Malformed:
            raise
        except RecursionError:
            raise Malformed("it is nested too deep") from None
        except MemoryError:
            raise Malformed("there is no memory for it") from None
        except Exception as error:
            raise Malformed(str(error) or type(error).__name__) from None

    return checked_decode


encode = msgspec.msgpack.Encoder().encode
read_client_hello = checked(msgspec.msgpack.Decoder(ClientHello).decode)
read_server_hello = checked(msgspec.msgpack.Decoder(ServerHello).decode)
read_metadata = checked(msgspec.msgpack.Decoder(dict[str, str]).decode)
read_challenge = checked(msgspec.msgpack.Decoder(Challenge).decode)
read_proof = checked(msgspec.msgpack.Decoder(Proof).decode)
_read_bytes = checked(msgspec.msgpack.Decoder(bytes).decode)
_read_text = checked(msgspec.msgpack.Decoder(str).decode)

NO_PROOF = msgspec.Raw(encode(b""))
NIL = encode(None)


class ClearToken(Exception):
    """The client sends its token in clear, as clients did before there were challenges."""


def proof_of(hello: ClientHello) -> bytes:
    """The client's proof, empty if it has none. Raises Malformed or ClearToken."""
    try:
        return _read_bytes(hello.proof)
    except Malformed:
        if _read_text(hello.proof):
            raise ClearToken from None
        return b""


def frame(kind: int, call: int = 0, amount: int = 0, payload: bytes = b"") -> bytes:
    """A frame of the simple kinds."""
    return HEADER.pack(kind, 0, 0, amount, call, 0) + payload


def acknowledgement(calls: Sequence[int]) -> bytes:
    """An ACK of the replies of these calls."""
    return frame(ACK, payload=struct.pack(f">{len(calls)}Q", *calls))


def frames(
    kind: int, flags: int, method: int, call: int, remaining_us: int, parts: Sequence[memoryview]
) -> Iterator[list[memoryview]]:
    """The frames of a body longer than CHUNK_BYTES, whose parts lie one behind another. Each frame
    is a list of pieces, which are views of the parts."""
    total = sum(len(part) for part in parts)
    head = HEADER.pack(kind, flags | MORE, method, 0, call, remaining_us) + TOTAL.pack(total)
    room = HEADER_BYTES + CHUNK_BYTES - len(head)
    gathered = [memoryview(head)]
    for part in parts:
        at = 0
        while at < len(part):
            piece = part[at : at + room]
            gathered.append(piece)
            at += len(piece)
            room -= len(piece)
            if room == 0:
                yield gathered
                gathered = [memoryview(HEADER.pack(CHUNK, 0, 0, 0, call, 0))]
                room = CHUNK_BYTES
    if len(gathered) > 1:
        yield gathered
