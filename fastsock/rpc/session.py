"""A server's memory of one client: its calls that run, and the answers it may ask for again.

A session outlives its connection for a while, so that a client that comes back joins its running
calls and gets kept answers, and no call runs twice. Numbers of calls only grow: one that is not
above the highest, does not run and is not kept has been here, and its outcome is no longer known.
"""

import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastsock._connection import Connection
from fastsock.rpc import wire
from fastsock.rpc.outgoing import Lane, Outgoing

if TYPE_CHECKING:
    from fastsock.rpc.skeleton import Running

_pack = wire.HEADER.pack

KEPT_MAX = 1024
KEPT_BYTES_MAX = 1 << 20
"""Answers that are kept for one session: so many, and together so long."""

Body = bytes | list[memoryview]


class Assembly:
    """A body that comes in several frames."""

    def __init__(self, method: int, flags: int, remaining_us: int, total: int) -> None:
        self.method = method
        self.flags = flags
        self.remaining_us = remaining_us
        self.total = total
        self.data = bytearray()


class Session:
    """What a server knows of one client. ``lock`` guards its fields; ``outgoing`` is None while
    the client is away."""

    def __init__(self, token: bytes, metadata: Mapping[str, str]) -> None:
        self.token = token
        self.metadata = metadata
        self.lock = threading.Lock()
        self.conn: Connection | None = None
        self.outgoing: Outgoing | None = None
        self.peer: tuple[str, int] | str = ""
        self.highest = 0
        self.running: dict[int, Running] = {}
        self.assembling: dict[int, Assembly] = {}
        self.assembling_bytes = 0
        self.incomplete: set[int] = set()
        """Calls whose bodies have not come in whole: they may come again."""
        self.left_at: float | None = None
        self._kept: OrderedDict[int, tuple[int, int, Body]] = OrderedDict()
        self._kept_bytes = 0

    def attach(self, conn: Connection, waiting_max: int, waiting_bytes_max: int) -> None:
        """The client is here, on that connection."""
        with self.lock:
            self.conn = conn
            self.peer = conn.peer
            self.outgoing = Outgoing(conn, waiting_max, waiting_bytes_max)
            self.left_at = None

    def detach(self) -> None:
        """The connection is gone. What runs goes on, but for streams."""
        with self.lock:
            self.conn = None
            self.outgoing = None
            self.left_at = monotonic()
            self.assembling.clear()
            self.assembling_bytes = 0
        for call in list(self.running.values()):
            if call.signature.stream:
                call.context._cancel()

    def cancel(self, number: int) -> None:
        """Nobody waits for the call any more."""
        call = self.running.get(number)
        if call is not None:
            call.context._cancel()
        unfinished = self.assembling.pop(number, None)
        if unfinished is not None:
            self.assembling_bytes -= len(unfinished.data)
            self.incomplete.discard(number)

    def cancel_all(self) -> None:
        """The client waits for nothing any more."""
        for call in list(self.running.values()):
            call.context._cancel()

    def seen(self, number: int) -> bool:
        """Whether a call of that number has begun here before. Remembers it."""
        if number > self.highest:
            self.highest = number
            return False
        if number in self.incomplete:
            self.incomplete.discard(number)
            return False
        return True

    def answer(
        self, call: int, kind: int, flags: int, body: Body, *, keep: bool, lane: Lane | None = None
    ) -> None:
        """Sends a REPLY, ERROR, ITEM or END. But for an ITEM the call has ended then; with ``keep``
        the answer is kept until the client has it."""
        with self.lock:
            outgoing = self.outgoing
            if keep:
                self._keep(call, kind, flags, body)
            if kind != wire.ITEM:
                self.running.pop(call, None)
        if lane is None and type(body) is bytes and len(body) <= wire.CHUNK_BYTES:
            if outgoing is not None:
                outgoing.put(_pack(kind, flags, 0, 0, call, 0) + body)
        elif outgoing is not None:
            send(outgoing, call, kind, flags, body, lane)

    def _keep(self, call: int, kind: int, flags: int, body: Body) -> None:
        self._kept[call] = kind, flags, body
        self._kept_bytes += len(body) if type(body) is bytes else size_of(body)
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            _, (_, _, oldest) = self._kept.popitem(last=False)
            self._kept_bytes -= size_of(oldest)

    def answer_again(self, call: int) -> bool:
        """Sends a kept answer; False if there is none."""
        with self.lock:
            kept, outgoing = self._kept.get(call), self.outgoing
        if kept is not None and outgoing is not None:
            send(outgoing, call, *kept, None)
        return kept is not None

    def forget(self, payload: memoryview) -> None:
        """The client has these answers."""
        numbers = struct.unpack(f">{len(payload) // 8}Q", payload[: len(payload) // 8 * 8])
        with self.lock:
            for number in numbers:
                kept = self._kept.pop(number, None)
                if kept is not None:
                    self._kept_bytes -= size_of(kept[2])

    @property
    def kept_count(self) -> int:
        """How many answers are kept."""
        return len(self._kept)


def size_of(body: Body) -> int:
    """Its length in bytes."""
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


def send(
    outgoing: Outgoing, call: int, kind: int, flags: int, body: Body, lane: Lane | None
) -> None:
    """Puts a body on its way, in one frame or several."""
    if isinstance(body, bytes) and len(body) <= wire.CHUNK_BYTES:
        frame = wire.HEADER.pack(kind, flags, 0, 0, call, 0) + body
        if lane is None:
            outgoing.put(frame)
            return
        frames: Iterator[bytes] = iter((frame,))
    else:
        parts: Any = [memoryview(body)] if isinstance(body, bytes) else body
        frames = map(b"".join, wire.frames(kind, flags, 0, call, 0, parts))
    if lane is None:
        outgoing.put_all(frames, size_of(body))
    else:
        outgoing.put_in(lane, frames)
