"""A client's hello: what it says first, and whether the server is the one that it wants."""

from typing import TYPE_CHECKING

from fastsock.address import Address, show
from fastsock.errors import FastsockError
from fastsock.rpc import wire
from fastsock.rpc.errors import (
    CODES,
    BadRequest,
    InterfaceMismatch,
    RpcError,
    Unavailable,
    VersionMismatch,
)

if TYPE_CHECKING:
    from fastsock.rpc.interface import Interface
    from fastsock.rpc.link import Link


def greet(link: "Link", timeout: float, *, resume: bool) -> wire.ServerHello:
    """Says hello and returns the server's. Unavailable if there is none, or what it refuses for."""
    interface, settings = link.connector.interface, link.settings
    hello = wire.ClientHello(
        wire.PROTOCOL,
        interface.name,
        interface.version,
        link.session,
        resume,
        settings.token,
        dict(settings.metadata),
    )
    try:
        link.client.send(wire.frame(wire.HELLO, payload=wire.encode(hello)), timeout=timeout)
        answer = link.client.recv(timeout=timeout)
    except TimeoutError:
        raise Unavailable(f"{show(link.address)} accepts but does not answer") from None
    except FastsockError as error:
        raise Unavailable(f"{show(link.address)}: no fastsock.rpc server: {error}") from None
    return _read_hello(link.address, answer)


def _read_hello(address: Address, answer: bytes) -> wire.ServerHello:
    try:
        kind = answer[0] if len(answer) >= wire.HEADER_BYTES else 0
        payload = memoryview(answer)[wire.HEADER_BYTES :]
        if kind == wire.REFUSED:
            failure = wire.read_failure(payload)
            raise CODES.get(failure.code, RpcError)(f"{show(address)}: {failure.message}")
        if kind != wire.HELLO:
            raise BadRequest(f"{show(address)} is no fastsock.rpc server: its hello is wrong")
        hello = wire.read_server_hello(payload)
    except wire.Malformed as error:
        raise BadRequest(f"{show(address)}: its hello cannot be read: {error}") from None
    if hello.protocol != wire.PROTOCOL:
        raise VersionMismatch(
            f"{show(address)} speaks protocol {hello.protocol}; this is {wire.PROTOCOL}"
        )
    return hello


def numbers_of(hello: wire.ServerHello, interface: "Interface", address: Address) -> dict[str, int]:
    """The numbers of the interface's methods at this server; InterfaceMismatch for the first one
    that is missing there or differs."""
    numbers = {}
    for name, signature in interface.methods.items():
        theirs = hello.methods.get(name)
        if theirs is None:
            raise InterfaceMismatch(f"{show(address)}: {hello.service} has no method {name}()")
        if theirs.digest != signature.digest:
            ours = signature.text
            if theirs.text == ours[: len(theirs.text)]:
                ours = "the same, but the types in it have other fields or the options differ"
            raise InterfaceMismatch(
                f"{show(address)}: {name}() differs: the server has {theirs.text}, the stub {ours}"
            )
        numbers[name] = theirs.id
    return numbers
