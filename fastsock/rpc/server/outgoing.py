"""What a server has still to send to one client: within its credit, and each in its turn."""

from collections import deque
from collections.abc import Iterator

from fastsock.rpc import wire
from fastsock.rpc.server._inline import OutgoingCore
from fastsock.server._connection import Connection

TURN_FRAMES = 4
"""Frames of one long body, or stream, that go out before others have their turn."""


class Lane:
    """The frames of one stream, which stay in their order."""

    def __init__(self) -> None:
        self.bodies: deque[Iterator[bytes]] = deque()
        self.listed = False

    def __iter__(self) -> "Lane":
        return self

    def __next__(self) -> bytes:
        while self.bodies:
            for frame in self.bodies[0]:
                return frame
            self.bodies.popleft()
        raise StopIteration


class Outgoing(OutgoingCore):
    """Frames on their way to one connection. Any thread may put some.

    A client for which more than ``waiting_max`` answers, or ``waiting_bytes_max`` in long ones,
    wait does not read them: it is closed.
    """

    def __init__(self, conn: Connection, waiting_max: int, waiting_bytes_max: int) -> None:
        self._waiting_max = waiting_max
        self._waiting_bytes_max = waiting_bytes_max
        self._waiting_bytes = 0

    def put_all(self, frames: Iterator[bytes], size: int) -> None:
        """The frames of one body of so many bytes, each made when it can go."""
        with self.lock:
            if self.waiting and self._waiting_bytes + size > self._waiting_bytes_max:
                self.give_up()
                return
            self._waiting_bytes += size
            self.wait(self._counted(frames, size))
            self._pump()

    def _counted(self, frames: Iterator[bytes], size: int) -> Iterator[bytes]:
        yield from frames
        self._waiting_bytes -= size

    def put_in(self, lane: Lane, frames: Iterator[bytes]) -> None:
        """Frames that come behind those of the lane."""
        with self.lock:
            lane.bodies.append(frames)
            if not lane.listed:
                lane.listed = True
                self.waiting.append(lane)
            self._pump()

    def put_control(self, frame: bytes) -> None:
        """A frame that needs no credit."""
        with self.lock:
            self.send(frame)

    def credit(self, size: int) -> None:
        """The client has read so many bytes."""
        with self.lock:
            self.window = min(self.window + size, wire.WINDOW_BYTES)
            self._pump()

    def wait(self, frames: Iterator[bytes]) -> None:
        """Frames that go out in their turn. The lock is held."""
        if len(self.waiting) >= self._waiting_max:
            self.give_up()
        else:
            self.waiting.append(frames)

    def _pump(self) -> None:
        while self.waiting and self.window > 0:
            frames = self.waiting.popleft()
            for _ in range(TURN_FRAMES):
                frame = next(frames, None)
                if frame is None:
                    if isinstance(frames, Lane):
                        frames.listed = False
                    break
                self.window -= len(frame)
                self.send(frame)
            else:
                self.waiting.append(frames)

    def give_up(self) -> None:
        """The client is gone, or reads nothing, not even what needs no credit."""
        self.window = 0
        self.waiting.clear()
        self.conn.close()
