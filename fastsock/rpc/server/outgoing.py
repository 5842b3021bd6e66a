"""What a server has still to send to one client: within its credit, and each in its turn."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic

from fastsock.rpc import wire
from fastsock.rpc.server._inline import OutgoingCore
from fastsock.rpc.server.budget import Budget, Holder
from fastsock.server._connection import Connection

log = logging.getLogger("fastsock.rpc")

TURN_FRAMES = 4
"""Frames of one long body, or stream, that go out before others have their turn."""

SHORT_BYTES = 256
"""Shorter frames are not counted: a client that has its share of what may be held is told so."""

READING_BYTES = 1 << 16
"""So much a client must take of what waits for it in ``reading_seconds``."""

GRACE_SECONDS = 1.0
"""A client that has taken nothing for so long is closed if others need the room."""


class Body:
    """The frames of one answer, each made when it can go; so many bytes are held for them."""

    __slots__ = ("frames", "size")

    def __init__(self, frames: Iterator[bytes], size: int) -> None:
        self.frames = frames
        self.size = size


class Lane:
    """The bodies of one stream, which stay in their order."""

    __slots__ = ("bodies", "listed")

    def __init__(self) -> None:
        self.bodies: deque[Body] = deque()
        self.listed = False


class Outgoing(OutgoingCore):
    """Frames on their way to one connection. Any thread may put some.

    What waits for the client's credit counts for its ``holder`` in the budget. A client for which
    there is no room, or more than ``waiting_max`` answers wait, does not read them: it is closed.
    """

    def __init__(
        self,
        conn: Connection,
        holder: Holder,
        budget: Budget,
        waiting_max: int,
        look: Callable[[], object],
    ) -> None:
        """``look()`` tells that answers wait from now on."""
        self._holder = holder
        self._budget = budget
        self._waiting_max = waiting_max
        self._look = look
        self._held = 0
        self._watched = False
        self._since = 0.0
        self._taken = 0
        self._credit_at = 0.0

    def put_all(self, frames: Iterator[bytes], size: int) -> bool:
        """The frames of one body of so many bytes. False, with nothing done: there is no room."""
        with self.lock:
            if self._fits(size):
                self._send_all(frames)
            elif not self._hold(size):
                return False
            elif self._may_wait():
                self.waiting.append(Body(frames, size))
                self._pump()
            return True

    def put_in(self, lane: Lane, frames: Iterator[bytes], size: int) -> None:
        """Frames that come behind those of the lane."""
        with self.lock:
            if self._fits(size):
                self._send_all(frames)
            elif not self._hold(size):
                self.give_up()
            else:
                lane.bodies.append(Body(frames, size))
                if not lane.listed:
                    lane.listed = True
                    self.waiting.append(lane)
                self._pump()

    @property
    def held_bytes_max(self) -> int:
        """What all clients together may have."""
        return self._budget.bytes_max

    def put_control(self, frame: bytes) -> None:
        """A frame that needs no credit."""
        with self.lock:
            self.send(frame)

    def credit(self, size: int) -> None:
        """The client has read so many bytes."""
        with self.lock:
            self._taken += size
            self._credit_at = monotonic()
            self.window = min(self.window + size, wire.WINDOW_BYTES)
            self._pump()

    def wait(self, frame: bytes) -> None:
        """A frame that goes out in its turn. The lock is held."""
        size = len(frame) if len(frame) > SHORT_BYTES else 0
        if size and not self._hold(size):
            self.give_up()
        elif self._may_wait():
            self.waiting.append(Body(iter((frame,)), size))
            self._watch()

    def _fits(self, size: int) -> bool:
        """Whether so much can go at once."""
        return size <= self.window and not self.waiting

    def _send_all(self, frames: Iterator[bytes]) -> None:
        for frame in frames:
            self.window -= len(frame)
            self.send(frame)

    def _may_wait(self) -> bool:
        if len(self.waiting) >= self._waiting_max:
            self.give_up()
        return not self.gone

    def _hold(self, size: int) -> bool:
        """Counts so many bytes, if there is room for them."""
        if self.gone or not self._budget.take(self._holder, size, locked=True):
            return False
        self._held += size
        return True

    def _release(self, size: int) -> None:
        self._held -= size
        self._budget.give(self._holder, size)

    def _watch(self) -> None:
        """Begins to look whether the client reads what waits for it."""
        watched, self._watched = self._watched, bool(self.waiting)
        if self._watched and not watched:
            self._since = self._credit_at = monotonic()
            self._taken = 0
            self._look()

    def _pump(self) -> None:
        while self.waiting and self.window > 0:
            waiting = self.waiting.popleft()
            for _ in range(TURN_FRAMES):
                frame = self._next_of(waiting)
                if frame is None:
                    break
                self.window -= len(frame)
                self.send(frame)
            else:
                self.waiting.append(waiting)
        self._watch()

    def _next_of(self, waiting: Body | Lane) -> bytes | None:
        """Its next frame; None if there is none left."""
        if isinstance(waiting, Body):
            frame = next(waiting.frames, None)
            if frame is None:
                self._release(waiting.size)
            return frame
        while waiting.bodies:
            frame = self._next_of(waiting.bodies[0])
            if frame is not None:
                return frame
            waiting.bodies.popleft()
        waiting.listed = False
        return None

    def give_up(self) -> None:
        """The client is gone, or reads nothing, not even what needs no credit. The lock is held."""
        self.gone = True
        self.window = 0
        self.waiting.clear()
        self._release(self._held)
        self.conn.close()

    # ---- A client that does not read ----

    def end(self) -> None:
        """The connection has ended: nothing waits any more."""
        with self.lock:
            self.give_up()

    def close_if_slow(self, reading_seconds: float) -> float | None:
        """Closes a client that takes too little of what waits for it; returns in how many seconds
        to look again, None if nothing waits."""
        with self.lock:
            if not self.waiting:
                return None
            now = monotonic()
            if now < self._since + reading_seconds:
                return self._since + reading_seconds - now
            if self._taken < READING_BYTES:
                log.warning(
                    "%s is closed: it took %d bytes of its answers in %g s, and %d more wait",
                    self._holder.peer,
                    self._taken,
                    reading_seconds,
                    self._held,
                )
                self.give_up()
                return None
            self._since, self._taken = now, 0
            return reading_seconds

    def close_if_others_need_room(self) -> None:
        """Closes a client that takes nothing of what is held for it."""
        with self.lock:
            if self._held and self._credit_at + GRACE_SECONDS <= monotonic():
                self.give_up()
