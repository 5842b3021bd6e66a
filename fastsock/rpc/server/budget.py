"""What a server holds for its clients: bounded for all of them together."""

import logging
import threading
from time import monotonic
from typing import Protocol

log = logging.getLogger("fastsock.rpc")

WARN_SECONDS = 1.0


class Holder(Protocol):
    """A client for which a server holds bytes."""

    held_bytes: int

    @property
    def peer(self) -> object: ...


class Budget:
    """So many bytes for all holders together. Each may hold as much as is left for the others: so
    whoever holds most is refused first, and something is left for a newcomer."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held_bytes = 0
        self._lock = threading.Lock()
        self._warned_at = -WARN_SECONDS

    def take(self, holder: Holder, size: int) -> bool:
        """Whether the holder may hold so many bytes more; if so, they count from now on."""
        with self._lock:
            if holder.held_bytes + size <= self.bytes_max - self.held_bytes:
                holder.held_bytes += size
                self.held_bytes += size
                return True
            now = monotonic()
            warn = now - self._warned_at >= WARN_SECONDS
            if warn:
                self._warned_at = now
        if warn:
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
