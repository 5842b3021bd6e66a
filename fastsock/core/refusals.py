"""Logs callers that were refused because this process had no descriptor left for them."""

import logging
import resource
import time
from collections.abc import Sequence

from fastsock.core.address import show

__all__ = ["Refusals"]

log = logging.getLogger("fastsock")

PAUSE = 10.0
"""Seconds between two lines of the log."""


class Refusals:
    """Tells of one server's callers: of the first at once, then of how many at most every 10 s."""

    def __init__(self, addresses: Sequence[tuple[str, int] | str]) -> None:
        self._shown = ", ".join(map(show, addresses))
        self._told = 0
        self._next = 0.0

    def tell(self, count: int) -> None:
        """``count`` were refused since the server began."""
        now = time.monotonic()
        if now < self._next or count == self._told:
            return
        more, self._told, self._next = count - self._told, count, now + PAUSE
        log.warning(
            "callers refused: %d at %s, since no descriptor is left for them (ulimit -n is %d)",
            more,
            self._shown,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
