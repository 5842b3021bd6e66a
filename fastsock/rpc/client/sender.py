"""What a client sends: the frames of its calls, in their order, and large bodies in turns."""

from collections.abc import Callable
from itertools import islice
from math import inf
from time import monotonic
from typing import Any

from fastsock.client import Client
from fastsock.errors import ConnectionClosed
from fastsock.rpc import wire
from fastsock.rpc.client._calling import SenderCore
from fastsock.rpc.client.calls import Call

__all__ = ["Sender"]

TRANSFER_FRAMES = 4
"""Frames of one large body that go out before others have their turn."""


class Sender(SenderCore):
    """Sends on one connection. ``lose(error)`` is told if the connection cannot go on."""

    def __init__(self, client: Client) -> None:
        self.lose: Callable[[Exception], object] = lambda error: None
        self._taken = 0
        """``client.bytes_queued`` when all that was taken out of the queues is with the client."""

    def enqueue(self, call: Call[Any], method: int) -> None:
        """Add the frames of a call, which has its number."""
        flags, body = call.flags, call.body
        remaining_us = 0
        if call.deadline is not None:
            remaining_us = max(1, int((call.deadline - monotonic()) * 1e6))
        if call.metadata:
            flags |= wire.METADATA
            body = [memoryview(call.metadata), *([body] if isinstance(body, bytes) else body)]
        if isinstance(body, bytes) and len(body) <= wire.CHUNK_BYTES:
            head = wire.HEADER.pack(wire.CALL, flags, method, 0, call.id, remaining_us)
            self.outgoing.append((head + body, call))
            return
        parts = [memoryview(body)] if isinstance(body, bytes) else body
        frames = wire.frames(wire.CALL, flags, method, call.id, remaining_us, parts)
        self.outgoing.append((b"".join(next(frames)), call))
        self.transfers.append((frames, call))

    def flush(self, call: Call[Any], limit: float = inf) -> None:
        """Sends until the call is with the kernel. Where that takes waiting for the server, at most
        to the limit, the attendant does the rest. ConnectionClosed when the connection has ended.
        """
        limit, in_time = min(limit, call.ends_at()), True
        while in_time and call.sent_at is None and not call.finished and call.id and not self.dead:
            in_time = self.send_soon(limit)
        while in_time and any(each is call for _, each in tuple(self.transfers)):
            in_time = monotonic() < limit and self.send_soon(limit)
        if not in_time:
            self.send_later()

    def send_turn(self, limit: float) -> bool:
        """Send what waits, but of each large body only some; at most for SEND_SECONDS or to the
        limit. Return whether there is more for the next turn."""
        return not self.send_soon(limit) or bool(self.outgoing or self.transfers)

    def send_batch(self, timeout: float) -> bool:
        """Sends all small frames that wait, and some of each large body; False if that takes longer
        than the timeout. ``lock`` is held.

        If it is interrupted between taking a frame out of a queue and giving it to the client, the
        link is lost: nothing is put back, so that nothing goes out twice or in another order.
        """
        self._taken = self.client.bytes_queued
        try:
            if self.unsent():  # While there are such bytes, the client refuses large bodies.
                self.client.send_many((), timeout=timeout)
            self._send_waiting(timeout)
        except BaseException as error:
            if self._taken != self.client.bytes_queued:
                self.lose(ConnectionClosed(f"interrupted while it sent: {error!r}", "local"))
            if not isinstance(error, TimeoutError) or not self.was_late():
                raise
            return False
        return True

    def _send_waiting(self, timeout: float) -> None:
        """Sends. ``_taken`` grows by each frame's bytes before the frame is taken."""
        batch: list[bytes] = []
        outgoing = self.outgoing
        while outgoing:
            frame, call = outgoing[0]
            if call is not None and call.finished:  # Cancelled, or its time is over.
                outgoing.popleft()
                continue
            offset, self._taken = self._taken, self._taken + len(frame) + 4
            if call is not None:
                call.sent_at = offset
            batch.append(frame)
            outgoing.popleft()
        if batch:
            self.client.send_many(batch, timeout=timeout)
        for _ in range(len(self.transfers)):
            frames, call = self.transfers[0]
            if call.finished:
                self.transfers.popleft()
                continue
            self._taken += 1  # Until it is known how many they are.
            some = list(islice(frames, TRANSFER_FRAMES))
            self.transfers.popleft()
            if len(some) == TRANSFER_FRAMES:
                self.transfers.append((frames, call))
            self._taken += sum(4 + sum(map(len, frame)) for frame in some) - 1
            self.client.send_gathered(some, timeout=timeout)

    def credit_stream(self, number: int, items: int, size: int) -> None:
        """The reader of a stream has taken so much."""
        head = wire.HEADER.pack(wire.CREDIT, 0, 0, items, number, size)
        self.put(head)
        self.post()
