"""The options of a server, checked when they are made."""

import os
from dataclasses import dataclass
from typing import Literal

from fastsock.core.listening import ListenOptions
from fastsock.core.options import (
    StreamOptions,
    check_choice,
    check_count,
    check_period,
    check_seconds,
)
from fastsock.server._config import EDIT_BYTES

__all__ = ["CONNECTIONS_MAX", "ServerOptions", "SlowPolicy", "Tuning"]

Relay = Literal["others", "all"]
SlowPolicy = Literal["disconnect", "drop_oldest", "block"]

RELAYS = (None, "others", "all")
SLOW_POLICIES = ("disconnect", "drop_oldest", "block")
GAP_NOTICE_BYTES_MAX = 1024
CONNECTIONS_MAX = 1 << 24


@dataclass(frozen=True, kw_only=True)
class ServerOptions(ListenOptions, StreamOptions):
    """What a :class:`fastsock.MultiServer` can be told. Raises TypeError or ValueError for a value
    that cannot be. Sizes are in bytes, times in seconds."""

    relay: Relay | None = None
    """To which clients the engine sends what a client says: "others", "all", None for nobody."""
    relay_except: bytes | None = None
    """A message that begins with these bytes is reported, but not relayed. The engine reads no
    more from its sender until a handler, or the loop over the events, has dealt with it: by
    closing the connection, or by publishing something instead."""
    slow_policy: SlowPolicy = "disconnect"
    """What happens to a client that is holding others up. "disconnect": it has ``slow_grace`` to
    accept a byte; "drop_oldest": it loses the oldest messages, which a ``Gap`` counts; "block":
    the publisher waits."""
    slow_grace: float = 1.0
    """How long "disconnect" waits."""
    gap_notice: bytes | None = None
    """A message that "drop_oldest" inserts into a client's stream where messages are missing;
    ``%d`` in it becomes how many. None: only the program is told, by ``Gap``."""
    log_bytes: int = 1 << 22
    """What may be queued for the slowest client: a power of two, at least a page."""
    connections_max: int = 10_000
    """At most so many clients are accepted; more stay in the backlog."""
    idle_timeout: float | None = None
    """A client that sends nothing for so long is closed. None: never."""
    heartbeat: float | None = None
    """A client that was sent nothing for so long is sent an empty message. None: never."""
    handler_timeout: float | None = 5.0
    """How long a send or broadcast in a handler waits for room, unless it has a timeout of its own;
    then it raises LogFull. Nobody is served while it waits. None: no limit."""
    busy_poll_us: int = 0
    """Microseconds to spin for input before sleeping: latency for CPU time."""
    backlog: int = 4096
    """Callers that the kernel queues before they are accepted (listen(2))."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("busy_poll_us", self.busy_poll_us, 1_000_000, least=0)
        check_choice("relay", self.relay, RELAYS)
        self._check_relay_except()
        check_choice("slow_policy", self.slow_policy, SLOW_POLICIES)
        check_seconds("slow_grace", self.slow_grace)
        for name in ("idle_timeout", "heartbeat", "handler_timeout"):
            value = getattr(self, name)
            if value is not None:
                check_period(name, value)
        check_count("connections_max", self.connections_max, CONNECTIONS_MAX)
        self._check_gap_notice()
        self._check_log_bytes()
        self._check_outbox_bytes()
        if self.heartbeat is not None and self.framing == "raw":
            raise ValueError("heartbeat is an empty message, which framing='raw' does not have")

    def _check_relay_except(self) -> None:
        value: object = self.relay_except
        if value is None:
            return
        if not isinstance(value, bytes):
            raise TypeError(f"relay_except must be None or bytes, not {value!r}")
        if not value:
            raise ValueError("relay_except must not be empty: every message begins with b''")
        if self.relay is None:
            raise ValueError(f"relay_except={value!r} needs relay='others' or relay='all'")

    def _check_gap_notice(self) -> None:
        value: object = self.gap_notice
        if value is None:
            return
        if not isinstance(value, bytes):
            raise TypeError(f"gap_notice must be None or bytes, not {value!r}")
        if self.framing == "raw":
            raise ValueError(
                "gap_notice is a message, which cannot be told in a stream with framing='raw'"
            )
        if not value or value.count(b"%") != value.count(b"%d") or value.count(b"%d") > 1:
            raise ValueError(f"gap_notice must have at most one %d and no other %, not {value!r}")
        if self.framing == "line" and (b"\n" in value or value.endswith(b"\r")):
            raise ValueError(f"gap_notice must be one line, without its end, not {value!r}")
        if len(value) > GAP_NOTICE_BYTES_MAX:
            raise ValueError(
                f"gap_notice has at most {GAP_NOTICE_BYTES_MAX} bytes, not {len(value)}"
            )

    def _check_log_bytes(self) -> None:
        check_count("log_bytes", self.log_bytes, 1 << 40)
        page = os.sysconf("SC_PAGESIZE")
        least = max(page, 4 * (self.message_bytes_max + 4))
        right = 1 << (max(least, self.log_bytes) - 1).bit_length()
        if self.log_bytes & (self.log_bytes - 1) or self.log_bytes < page:
            raise ValueError(
                f"log_bytes must be a power of two of at least {page}, such as {right}, not"
                f" {self.log_bytes}"
            )
        if self.log_bytes < least:
            raise ValueError(
                f"log_bytes must be at least {least}, four times message_bytes_max ="
                f" {self.message_bytes_max} and its header, such as {right}, not {self.log_bytes}"
            )

    def _check_outbox_bytes(self) -> None:
        least = self.message_bytes_max + EDIT_BYTES
        if self.outbox_bytes_max < least:
            raise ValueError(
                f"outbox_bytes_max must be at least {least}, message_bytes_max ="
                f" {self.message_bytes_max} and {EDIT_BYTES} for its keeping, not"
                f" {self.outbox_bytes_max}"
            )


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a kind of server sets, and its users do not."""

    flush_bytes: int = 1 << 18
    """How much of one channel one client is sent before the next client's turn."""
    first_bytes_max: int = 0
    """The longest message of a client that is not trusted yet; 0: ``message_bytes_max``."""
    turn_messages_max: int = 0
    """How many messages of one client one turn delivers; 0: no limit."""
    turn_ns: int = 0
    """For how long one turn delivers the messages of one client; 0: no limit."""
