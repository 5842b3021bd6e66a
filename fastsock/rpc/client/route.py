"""Where the servers of a stub are."""

from collections.abc import Sequence
from typing import Protocol

from fastsock.core.address import Address


class Route(Protocol):
    """Knows the addresses at which a service is served."""

    def addresses(self) -> Sequence[Address]:
        """Those to try now, the best one first; RpcError or OSError where that is not known."""
        ...

    def has_others(self, address: Address) -> bool:
        """Whether there may be a server elsewhere."""
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

    def addresses(self) -> Sequence[Address]:
        return (self._address,)

    def has_others(self, address: Address) -> bool:
        return False

    def failed(self, address: Address) -> None:
        pass

    def worked(self, address: Address) -> None:
        pass
