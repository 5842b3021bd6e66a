"""What a server lets its clients do, and make it hold."""

from dataclasses import dataclass
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

from fastsock.core.options import check_count, check_period
from fastsock.rpc.context import METADATA_BYTES_MAX
from fastsock.server.options import CONNECTIONS_MAX

__all__ = ["Limits"]

SPARE_DESCRIPTORS = 32
"""What RLIMIT_NOFILE leaves to the program beside the connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server, as :func:`fastsock.rpc.serve` explains them. ValueError for one that
    cannot be."""

    connections_max: int
    greeting_seconds: float
    session_seconds: float
    sessions_max: int
    calls_max: int
    body_bytes_max: int
    values_max: int
    held_bytes_max: int
    metadata_bytes_max: int
    reading_seconds: float

    def __post_init__(self) -> None:
        check_count("connections_max", self.connections_max, CONNECTIONS_MAX)
        check_period("greeting_seconds", self.greeting_seconds)
        check_period("session_seconds", self.session_seconds)
        check_period("reading_seconds", self.reading_seconds)
        check_count("sessions_max", self.sessions_max, 1 << 24)
        check_count("calls_max", self.calls_max, 1 << 20)
        check_count("body_bytes_max", self.body_bytes_max, 1 << 40)
        check_count("values_max", self.values_max, 1 << 40)
        check_count("held_bytes_max", self.held_bytes_max, 1 << 48)
        check_count("metadata_bytes_max", self.metadata_bytes_max, METADATA_BYTES_MAX)

    @property
    def places(self) -> int:
        """How many connections may be open now: ``connections_max``, or what RLIMIT_NOFILE allows
        if that is less. Others wait in the backlog until a place is free."""
        soft, _ = getrlimit(RLIMIT_NOFILE)
        if soft == RLIM_INFINITY:
            return self.connections_max
        return max(1, min(self.connections_max, soft - SPARE_DESCRIPTORS))
