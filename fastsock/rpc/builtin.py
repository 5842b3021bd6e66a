"""What every server answers beside its service: what it serves, and how it is."""

from typing import TYPE_CHECKING, Any

import msgspec

from fastsock.rpc.interface import Interface, Service, Signature, method
from fastsock.rpc.schema import spell

if TYPE_CHECKING:
    from fastsock.rpc.server import Server

__all__ = ["BUILTINS", "Builtins", "Description", "MethodDescription"]


class MethodDescription(msgspec.Struct):
    """A method, as people and programs need to know it."""

    name: str
    signature: str
    doc: str
    parameters: list[tuple[str, str]]
    result: str
    stream: bool
    oneway: bool
    idempotent: bool
    digest: str


class Description(msgspec.Struct):
    """A service with all its methods."""

    service: str
    version: str
    doc: str
    methods: list[MethodDescription]


def describe(signature: Signature) -> MethodDescription:
    """What the built-in method tells of one method."""
    return MethodDescription(
        signature.name,
        signature.text,
        signature.doc,
        [(name, spell(each)) for name, each in signature.types.items()],
        spell(signature.result),
        signature.stream,
        signature.options.oneway,
        signature.options.idempotent,
        signature.digest,
    )


class Builtins(Service):
    """The built-in methods. A stub of this class talks to any server."""

    rpc_name = ""

    def __init__(self, server: "Server") -> None:
        self._server = server

    @method(inline=True, idempotent=True)
    def rpc_ping(self) -> None:
        """Does nothing: for round trips."""

    @method(inline=True, idempotent=True)
    def rpc_health(self) -> dict[str, Any]:
        """Whether the server takes calls ("status": "serving" or "draining"), and its figures."""
        return self._server.health()

    @method(idempotent=True)
    def rpc_describe(self) -> Description:
        """The service: methods, types, docstrings."""
        interface = self._server.interface
        methods = [describe(signature) for signature in interface.methods.values()]
        return Description(interface.name, interface.version, interface.doc, methods)


BUILTINS = Interface.of(Builtins)
