"""What every server answers beside its service: what it serves, and how it is."""

from collections.abc import Callable
from typing import Any

from fastsock.rpc.describe.definitions import Description, describe
from fastsock.rpc.interface import Service, interface_of, method
from fastsock.rpc.signature import Interface

__all__ = ["BUILTINS", "Builtins"]


class Builtins(Service):
    """The built-in methods. A stub of this class talks to any server."""

    rpc_name = ""

    def __init__(self, served: Interface, health: Callable[[], dict[str, Any]]) -> None:
        self._served = served
        self._health = health

    @method(inline=True, idempotent=True)
    def rpc_ping(self) -> None:
        """Does nothing: for round trips."""

    @method(inline=True, idempotent=True)
    def rpc_health(self) -> dict[str, Any]:
        """Whether the server takes calls ("status": "serving" or "draining"), and its figures, also
        of each method."""
        return self._health()

    @method(idempotent=True)
    def rpc_describe(self) -> Description:
        """The service: methods, types, docstrings."""
        return describe(self._served)


BUILTINS = interface_of(Builtins)
