"""What a server holds for its clients: bounded for all of them together.

If there is no room for what a client asks, others make some. First those that are away lose the
answers that are kept for them, then those that hold more than this one would lose what has not
begun: their unfinished arguments, and their calls that wait. Of each kind the largest holder is
the first.

Lock order: a session's lock, then the budget's, which is held for moments and under which nothing
is called. A session that asks under its own lock waits for no other session's lock.
"""

import heapq
import logging
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

log = logging.getLogger("fastsock.rpc")

WARN_SECONDS = 1.0

STEP = 64
"""Room is made in such parts of all, so that not each call has to look for some."""

LARGEST = 16
"""So many of the largest holders are asked at a time."""

VAIN_SECONDS = 0.01
"""For so long a holder makes others give nothing after a smaller one could not."""


class Holder(Protocol):
    """A client for which a server holds bytes."""

    held_bytes: int

    @property
    def peer(self) -> object: ...

    @property
    def away(self) -> bool:
        """Whether the client is not connected."""

    def drop_answers(self, size: int) -> int:
        """Drops kept answers, if that needs no waiting: at least so many bytes, if there are.
        Returns how many."""

    def refuse_waiting(self, size: int) -> int:
        """Refuses calls that have not begun; as ``drop_answers``. No lock is held."""


class Budget:
    """So many bytes for all holders together. Each may hold as much as is left for the others, so
    something is left for a newcomer."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._holders: set[Holder] = set()
        self._lock = threading.Lock()
        self._warned_at = {"refused": -WARN_SECONDS, "dropped": -WARN_SECONDS}
        self._vain_until = 0.0
        self._vain_size = 0

    def take(self, holder: Holder, size: int, *, locked: bool = False) -> bool:
        """Whether the holder may hold so many bytes more; if so, they count from now on. Others
        give way if that could make room enough. With ``locked``, the holder's lock is held, and
        only answers are dropped for it."""
        if self._taken(holder, size):
            return True
        if 2 * holder.held_bytes + size <= self.bytes_max and not self._in_vain(holder, size):
            self._make_room(holder, size, locked)
            if self._taken(holder, size):
                return True
            if not locked and not holder.away:
                self._note_vain(holder, size)
        if self._may_warn("refused"):
            log.warning(
                "%s is refused %d bytes: it holds %d of the %d that all hold; held_bytes_max is %d",
                holder.peer,
                size,
                holder.held_bytes,
                self.held_bytes,
                self.bytes_max,
            )
        return False

    def give(self, holder: Holder, size: int) -> None:
        """The holder holds so many bytes less."""
        with self._lock:
            holder.held_bytes -= size
            self.held_bytes -= size
            if holder.held_bytes == 0:
                self._holders.discard(holder)

    def _taken(self, holder: Holder, size: int) -> bool:
        with self._lock:
            if self._missing(holder, size) > 0:
                return False
            holder.held_bytes += size
            self.held_bytes += size
            self._holders.add(holder)
            return True

    def _missing(self, holder: Holder, size: int) -> int:
        """How much room the holder lacks for so many bytes."""
        return holder.held_bytes + size - (self.bytes_max - self.held_bytes)

    def _in_vain(self, holder: Holder, size: int) -> bool:
        """Whether somebody who would hold no more than this one has just found no room."""
        return holder.held_bytes + size >= self._vain_size and monotonic() < self._vain_until

    def _note_vain(self, holder: Holder, size: int) -> None:
        now, vain = monotonic(), holder.held_bytes + size
        self._vain_size = vain if now >= self._vain_until else min(vain, self._vain_size)
        self._vain_until = now + VAIN_SECONDS

    def _make_room(self, holder: Holder, size: int, locked: bool) -> None:
        wanted = max(self._missing(holder, size), self.bytes_max // STEP)
        for other in self._largest(holder, away=True):
            if not holder.away or other.held_bytes > holder.held_bytes + size:
                wanted -= self._drop(other, other.drop_answers(wanted), holder, size)
            if wanted <= 0:
                return
        if locked:
            return
        for other in self._largest(holder, away=False):
            if wanted > 0 and other.held_bytes > holder.held_bytes + size:
                wanted -= self._drop(other, other.refuse_waiting(wanted), holder, size)

    def _largest(self, but: Holder, *, away: bool) -> Iterator[Holder]:
        """The largest holders: only those that are away, or all."""
        with self._lock:
            holders = [other for other in self._holders if other is not but]
        chosen = [other for other in holders if other.away] if away else holders
        return iter(heapq.nlargest(LARGEST, chosen, key=lambda other: other.held_bytes))

    def _drop(self, other: Holder, freed: int, holder: Holder, size: int) -> int:
        if freed and self._may_warn("dropped"):
            log.warning(
                "no room for %d bytes of %s: %s, which held %d, loses %d; held_bytes_max is %d",
                size,
                holder.peer,
                other.peer,
                other.held_bytes + freed,
                freed,
                self.bytes_max,
            )
        return freed

    def _may_warn(self, what: str) -> bool:
        now = monotonic()
        with self._lock:
            if now - self._warned_at[what] < WARN_SECONDS:
                return False
            self._warned_at[what] = now
            return True
