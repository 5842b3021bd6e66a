"""A server's memory of one client: its calls that run, and the answers it may ask for again.

A session outlives its connection for a while, so that a client that comes back joins its running
calls and gets kept answers, and no call runs twice. Numbers of calls only grow: one that is not
above the highest, does not run and is not kept has been here, and its outcome is no longer known.
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Protocol

from fastsock.rpc import wire
from fastsock.rpc.context import Context
from fastsock.rpc.errors import Cancelled, Overloaded, RpcError
from fastsock.rpc.server._inline import SessionCore, Tally, answer_frame
from fastsock.rpc.server.budget import Budget
from fastsock.rpc.server.outgoing import Lane, Outgoing
from fastsock.rpc.server.pool import Line
from fastsock.rpc.signature import Signature
from fastsock.rpc.values.failures import failure_of
from fastsock.rpc.wire._body import Body
from fastsock.server._connection import Connection

Encoded = bytes | list[memoryview]
"""A body, whole or in parts."""


class Running:
    """A call that has begun at the server and has not ended."""

    __slots__ = (
        "arguments",
        "begun",
        "context",
        "flags",
        "function",
        "held",
        "items",
        "lane",
        "number",
        "session",
        "signature",
        "tally",
    )

    def __init__(
        self,
        session: "Session",
        number: int,
        signature: Signature,
        function: Callable[..., Any],
        tally: Tally,
        context: Context,
        flags: int,
        arguments: Any,
    ) -> None:
        self.session = session
        self.number = number
        self.signature = signature
        self.function = function
        self.tally = tally
        self.begun: float | None = monotonic()
        self.context = context
        self.flags = flags
        self.arguments = arguments
        self.held = 0
        self.items = 0
        self.lane = Lane() if signature.stream else None
        tally.began()


class Assembly:
    """A body that comes in several frames."""

    def __init__(self, header: wire.Header, total: int) -> None:
        self.header = header
        self.data = Body(total)
        self.missing = total
        """How many bytes are to come; negative if there were too many."""


class Runner(Protocol):
    """What runs the calls."""

    def end_waiting(self, call: Running, error: RpcError) -> bool:
        """Ends a call with that error if it has not begun; returns whether it did."""


class Session(SessionCore):
    """What a server knows of one client. ``lock`` guards its fields; ``outgoing`` is None while
    the client is away."""

    outgoing: Outgoing | None
    running: dict[int, Running]

    def __init__(
        self,
        token: bytes,
        metadata: dict[str, str],
        budget: Budget,
        runner: Runner,
    ) -> None:
        self.shared = metadata
        self.token = token
        self.line = Line()
        self._budget = budget
        self._runner = runner
        self.conn: Connection | None = None
        self.assembling: dict[int, Assembly] = {}
        self.held_bytes = 0
        self.left_at: float | None = None

    def attach(self, conn: Connection, waiting_max: int, look: Callable[[], object]) -> None:
        """The client is here, on that connection; ``look()`` tells that answers wait for it."""
        with self.lock:
            self.conn = conn
            self.peer = conn.peer
            self.outgoing = Outgoing(conn, self, self._budget, waiting_max, look)
            self.left_at = None

    def detach(self) -> None:
        """The connection is gone. What runs goes on, but for streams."""
        with self.lock:
            self.conn = None
            outgoing, self.outgoing = self.outgoing, None
            self.left_at = monotonic()
        if outgoing is not None:
            outgoing.end()
        for number in list(self.assembling):
            self.drop_body(number)
        for call in list(self.running.values()):
            if call.signature.stream:
                call.context._cancel()

    def cancel(self, number: int) -> bool:
        """Nobody waits for the call any more. Returns whether its body was unfinished: then nothing
        else answers it."""
        call = self.running.get(number)
        if call is not None:
            self._cancel(call)
        unfinished = self.drop_body(number)
        if unfinished:
            self.incomplete.discard(number)
        return unfinished

    def cancel_all(self, but: Running | None = None, *, oneway: bool = True) -> None:
        """The client waits for nothing any more, unless for the call ``but``. One-way calls, for
        which it never waited, are cancelled only with ``oneway``."""
        for call in list(self.running.values()):
            if call is not but and (oneway or not call.signature.options.oneway):
                self._cancel(call)

    def _cancel(self, call: Running) -> None:
        call.context._cancel()
        why = f"{call.signature.name} did not start: nobody waits for it any more"
        self._runner.end_waiting(call, Cancelled(why))

    # ---- Arguments that come in several frames ----

    def add_piece(self, number: int, frame: bytes, at: int) -> Assembly | None:
        """Adds to a body what the frame holds from there on, for which the budget has been asked.
        Returns the body if nothing more is expected, and forgets it."""
        size, kept = len(frame) - at, 0
        body = None
        try:
            with self.lock:
                body = self.assembling.get(number)
                if body is not None:
                    body.missing = body.data.add(frame, at)
                    kept = size if body.missing >= 0 else 0
                    if body.missing <= 0:
                        del self.assembling[number]
                        kept -= len(body.data)
        finally:
            self._budget.give(self, size - kept)
        return body if body is not None and body.missing <= 0 else None

    def drop_body(self, number: int) -> bool:
        """Forgets an unfinished body; False if there is none. Any thread may call it."""
        with self.lock:
            body = self.assembling.pop(number, None)
        if body is not None:
            self._budget.give(self, len(body.data))
        return body is not None

    def note_incomplete(self, number: int, most: int) -> None:
        """A call has arrived whose body has not. Of more than ``most`` such calls the oldest are
        no longer expected: a client that is back has sent them again, or never will."""
        self.highest = number
        self.incomplete.add(number)
        while len(self.incomplete) > most:
            self.incomplete.discard(min(self.incomplete - self.assembling.keys()))

    def answer(
        self,
        call: int,
        kind: int,
        flags: int,
        body: Encoded,
        *,
        keep: bool,
        lane: Lane | None = None,
    ) -> None:
        """Sends a REPLY, ERROR, ITEM or END. But for an ITEM the call has ended then; with ``keep``
        the answer is kept until the client has it."""
        with self.lock:
            outgoing = self.outgoing
            if keep:
                self.keep(call, kind, flags, body, size_of(body))
            if kind != wire.ITEM:
                self.running.pop(call, None)
        if outgoing is not None:
            send(outgoing, call, kind, flags, body, lane)

    def answer_again(self, call: int) -> bool:
        """Sends a kept answer; False if there is none."""
        with self.lock:
            kept, outgoing = self.kept.get(call), self.outgoing
        if kept is not None and outgoing is not None:
            send(outgoing, call, *kept[:3], None)
        return kept is not None

    # ---- Room for others ----

    @property
    def away(self) -> bool:
        """Whether the client is not connected."""
        return self.conn is None

    def refuse_waiting(self, size: int) -> int:
        """Refuses calls that have not begun until so many bytes less are held: first those whose
        arguments are unfinished, then those that came last. In the end kept answers go, and a
        client that reads none of its answers is closed. Returns how many bytes that were. Any
        thread may call it that holds no session's lock."""
        before = self.held_bytes
        for number in list(self.assembling):
            if self.held_bytes <= before - size:
                break
            if self.drop_body(number):
                self.seen(number)
                why = "others need the room that its arguments take"
                error = Overloaded(f"{why}: held_bytes_max = {self._budget.bytes_max}")
                self.answer(number, wire.ERROR, 0, failure_of(error), keep=False)
        for call in reversed(list(self.running.values())):
            if self.held_bytes <= before - size:
                break
            why = f"{call.signature.name} did not start: others need the room that it takes"
            error = Overloaded(f"{why}; held_bytes_max = {self._budget.bytes_max}")
            self._runner.end_waiting(call, error)
        if self.held_bytes > before - size:
            self.drop_answers(size - (before - self.held_bytes))
        outgoing = self.outgoing
        if self.held_bytes > before - size and outgoing is not None:
            outgoing.close_if_others_need_room()
        return before - self.held_bytes

    @property
    def kept_count(self) -> int:
        """How many answers are kept."""
        return len(self.kept)


def size_of(body: Encoded) -> int:
    """Its length in bytes."""
    return len(body) if isinstance(body, bytes) else sum(map(len, body))


def send(
    outgoing: Outgoing, call: int, kind: int, flags: int, body: Encoded, lane: Lane | None
) -> None:
    """Puts a body on its way, in one frame or several."""
    if isinstance(body, bytes) and len(body) <= wire.CHUNK_BYTES:
        frame = answer_frame(kind, flags, call, body)
        if lane is None:
            outgoing.put(frame)
            return
        frames: Iterator[bytes] = iter((frame,))
    else:
        parts: Any = [memoryview(body)] if isinstance(body, bytes) else body
        frames = map(b"".join, wire.frames(kind, flags, 0, call, 0, parts))
    size = size_of(body)
    if lane is not None:
        outgoing.put_in(lane, frames, size)
    elif not outgoing.put_all(frames, size):
        why = f"no room for an answer of {size} bytes, though the call has run"
        error = Overloaded(f"{why}: held_bytes_max = {outgoing.held_bytes_max}")
        outgoing.put(answer_frame(wire.ERROR, 0, call, failure_of(error)))
