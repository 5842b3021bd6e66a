"""How messages lie on the wire of each protocol, for clients that are not written with its library.

All messages of a run have the same size, so what stands before and after each is the same bytes.
The protocols are RESP, the NATS client protocol, and ZMTP 3.0 (rfc.zeromq.org/spec/23).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum


@dataclass(frozen=True)
class Wire:
    """What a client says, where the answer ends, what it says then; what encloses a message."""

    hello: bytes = b""
    ready: bytes = b""
    begin: bytes = b""
    head: bytes = b""
    tail: bytes = b""

    def arguments(self) -> list[str]:
        """The fields as csrc/sink.c takes them."""
        return [getattr(self, field.name).hex() or "-" for field in fields(self)]

    def frame_len(self, size: int) -> int:
        return len(self.head) + size + len(self.tail)


class Answers(Enum):
    """What a server says to who publishes: nothing, or a line for each message or each block."""

    NONE = 0
    MESSAGE = 1
    BLOCK = 2


@dataclass(frozen=True)
class Protocol:
    """The wires of a subscriber and of a publisher of messages of a size."""

    name: str
    listen: Callable[[int], Wire]
    speak: Callable[[int], Wire]
    answers: Answers = Answers.NONE
    answer_mark: bytes = b"\n"
    """A byte that each answer has once, and nothing else that the server may say to a publisher."""
    request: bytes = b""
    """What a publisher says behind a block of messages, to be answered."""


def _line(size: int) -> Wire:
    return Wire(tail=b"\n")


LINES = Protocol("lines", _line, _line)


# ---- Redis: an array of bulk strings; the answer to PUBLISH is an integer ----


def _resp_listen(size: int) -> Wire:
    return Wire(
        hello=b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nx\r\n",
        ready=b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
        head=b"*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$%d\r\n" % size,
        tail=b"\r\n",
    )


def _resp_speak(size: int) -> Wire:
    return Wire(head=b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nx\r\n$%d\r\n" % size, tail=b"\r\n")


RESP = Protocol("resp", _resp_listen, _resp_speak, Answers.MESSAGE)


# ---- NATS: a line with subject and size, then the message; PING is answered in order ----

_NATS_HELLO = b'CONNECT {"verbose":false,"pedantic":false}\r\n'


def _nats_listen(size: int) -> Wire:
    # Two seconds after it has begun, a connection is asked for a PONG, and then every two minutes.
    # The first of these has to be over before messages are counted.
    hello = _NATS_HELLO + b"SUB x 1\r\n"
    return Wire(hello, b"PING\r\n", b"PONG\r\n", head=b"MSG x 1 %d\r\n" % size, tail=b"\r\n")


def _nats_speak(size: int) -> Wire:
    hello = _NATS_HELLO + b"PING\r\n"
    return Wire(hello, ready=b"PONG\r\n", head=b"PUB x %d\r\n" % size, tail=b"\r\n")


NATS = Protocol("nats", _nats_listen, _nats_speak, Answers.BLOCK, b"O", request=b"PING\r\n")


# ---- ZeroMQ: a greeting and READY from both sides, then frames of flags, size and body ----

_SHORT_MAX = 255
_LONG = 2
_COMMAND = 4
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\3\0" + b"NULL".ljust(20, b"\0") + bytes(32)
_TYPE = b"\x0bSocket-Type\0\0\0"
_SUBSCRIBE_ALL = b"\0\1\1"


def _ready(kind: bytes) -> bytes:
    body = b"\5READY" + _TYPE + bytes([len(kind)]) + kind
    return bytes([_COMMAND, len(body)]) + body


def _frame(size: int) -> bytes:
    return bytes([0, size]) if size <= _SHORT_MAX else bytes([_LONG]) + size.to_bytes(8)


def _zmtp_listen(size: int) -> Wire:
    ready = _TYPE + b"\4XPUB"  # libzmq does not bear a subscription before it has said this
    return Wire(_GREETING + _ready(b"SUB"), ready, begin=_SUBSCRIBE_ALL, head=_frame(size))


def _zmtp_speak(size: int) -> Wire:
    return Wire(_GREETING + _ready(b"PUB"), ready=_TYPE + b"\4XSUB", head=_frame(size))


ZMTP = Protocol("zmtp", _zmtp_listen, _zmtp_speak)

PROTOCOLS = {protocol.name: protocol for protocol in (LINES, RESP, NATS, ZMTP)}
