"""A client's hello: what it says first, and whether the server is the one that it wants."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

from fastsock.client import Client
from fastsock.core.address import Address, check, show
from fastsock.errors import FastsockError
from fastsock.rpc import wire
from fastsock.rpc.errors import (
    CODES,
    BadRequest,
    Forbidden,
    InterfaceMismatch,
    RpcError,
    Unavailable,
    VersionMismatch,
)
from fastsock.rpc.signature import Interface
from fastsock.rpc.values.failures import read_failure
from fastsock.rpc.wire.handshake import Challenger, tcp_name
from fastsock.rpc.wire.place import place_of


def greet(
    client: Client, hello: wire.ClientHello, address: Address, token: str, timeout: float
) -> wire.ServerHello:
    """Say hello, within ``timeout`` seconds, and return the server's hello.

    With a token, server and client prove to each other first that they know it. Unavailable if
    the server does not answer; Forbidden, or another error that it refuses with.
    """
    until, where = monotonic() + timeout, show(address)
    if token:
        names = names_of(address, client.peer)
        challenger = Challenger(token, hello.service, hello.version, names)
        asked = wire.frame(wire.CHALLENGE, payload=wire.encode(challenger.challenge))
        answer = _ask(client, asked, where, until)
        try:
            challenger.check(read_proof(answer, where))
        except Forbidden as error:
            raise Forbidden(f"{where}: {error}") from None
        challenger.prove(hello)
    answer = _ask(client, wire.frame(wire.HELLO, payload=wire.encode(hello)), where, until)
    server: wire.ServerHello = _read(answer, wire.HELLO, wire.read_server_hello, where)
    return server


def names_of(address: Address, peer: Sequence[Any]) -> list[str]:
    """What a client that has connected to the address may call it: by the other end's numbers
    ``peer``, or as the user named it."""
    plain = check(address)
    if isinstance(plain, str):
        return [place_of(plain)]
    return list(dict.fromkeys([tcp_name(*peer[:2]), tcp_name(*plain)]))


def _ask(client: Client, frame: bytes, where: str, until: float) -> bytes:
    try:
        client.send(frame, timeout=max(0.0, until - monotonic()))
        return client.recv(timeout=max(0.0, until - monotonic()))
    except TimeoutError:
        raise Unavailable(f"{where} accepts but does not answer") from None
    except FastsockError as error:
        raise Unavailable(f"{where}: no fastsock.rpc server: {error}") from None


def read_proof(answer: bytes, where: str) -> wire.Proof:
    """The server's proof. What it refuses with, or BadRequest for what is none; ``where`` names
    the server."""
    proof: wire.Proof = _read(answer, wire.PROOF, wire.read_proof, where)
    return proof


def _read(answer: bytes, expected: int, decode: Any, where: str) -> Any:
    try:
        kind = answer[0] if len(answer) >= wire.HEADER_BYTES else 0
        payload = memoryview(answer)[wire.HEADER_BYTES :]
        if kind == wire.REFUSED:
            failure = read_failure(payload)
            raise CODES.get(failure.code, RpcError)(f"{where}: {failure.message}")
        if kind != expected:
            raise BadRequest(f"{where} is no fastsock.rpc server: its hello is wrong")
        said = decode(payload)
    except wire.Malformed as error:
        raise BadRequest(f"{where}: its hello cannot be read: {error}") from None
    if said.protocol != wire.PROTOCOL:
        raise VersionMismatch(f"{where} speaks protocol {said.protocol}; this is {wire.PROTOCOL}")
    return said


def numbers_of(hello: wire.ServerHello, interface: Interface, address: Address) -> dict[str, int]:
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
