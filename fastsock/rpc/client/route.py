"""Where the servers of a stub are."""

from collections.abc import Sequence
from math import inf
from typing import Protocol

from fastsock.core.address import Address


class Route(Protocol):
    """Knows the addresses at which a service is served."""

    single: bool
    """Whether there never is a server elsewhere."""

    def addresses(self, until: float = inf) -> Sequence[Address]:
        """Those to try now, the best one first; RpcError or OSError where that is not known at
        ``until``, a ``monotonic()``."""
        ...

    def has_others(self, address: Address, until: float = inf) -> bool:
        """Whether there may be a server elsewhere, as far as is known at ``until``."""
        ...

    def failed(self, address: Address) -> None:
        """Nobody answers there now."""
        ...

    def worked(self, address: Address) -> None:
        """A server has answered there."""
        ...


class FixedRoute:
    """One server, whose address the user knows."""

    def __init__(self, address: Address) -> None:
        self._address = address

    single = True

    def addresses(self, until: float = inf) -> Sequence[Address]:
        return (self._address,)

    def has_others(self, address: Address, until: float = inf) -> bool:
        return False

    def failed(self, address: Address) -> None:
        pass

    def worked(self, address: Address) -> None:
        pass
