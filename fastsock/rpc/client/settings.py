"""What a stub was told about its connections and calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastsock.rpc.values.weights import VALUES_MAX

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What :func:`fastsock.rpc.connect` was told."""

    timeout: float | None = None
    connect_timeout: float = 5.0
    retry: float = 2.0
    place_timeout: float = 10.0
    keepalive: float = 15.0
    body_bytes_max: int = 1 << 26
    values_max: int = VALUES_MAX
    busy_poll_us: int | None = None
    token: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    interceptors: Sequence[Callable[[Any], object]] = ()
