"""How both ends prove that they know the token, without ever sending it.

A client with a token begins with a CHALLENGE, and says its HELLO only after the server's PROOF has
shown that the server knows the token. The HELLO carries the client's own proof. A proof is the
HMAC-SHA256 (RFC 2104), keyed with the token, of a transcript: which end proves, both nonces, the
service, the server's incarnation, and the address at which they meet. So a proof is of no use to
anybody else: replayed, it meets another nonce; reflected, the other end's label; relayed by
somebody in between, another address.

There is no I/O here, and no encryption: who can read the wire can read the calls, and can try
tokens against a proof. So a token must be long and random, as ``secrets.token_urlsafe(32)`` is.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress

import msgspec

from fastsock.core.address import show
from fastsock.rpc import wire
from fastsock.rpc.errors import BadRequest, Forbidden

__all__ = ["Challenged", "Challenger", "check_token", "tcp_name"]

NONCE_BYTES = 32


def check_token(token: object) -> None:
    """Raises TypeError for what is no str, ValueError for one that is no UTF-8. So a token that is
    missing somewhere, None, does not serve everybody."""
    if not isinstance(token, str):
        raise TypeError(f'token must be a str, "" for none, not {type(token).__name__}')
    try:
        token.encode()
    except UnicodeEncodeError:
        raise ValueError("token must be text that UTF-8 can encode") from None


def tcp_name(host: str, port: int) -> str:
    """``host:port`` in the one form that both ends use: an IPv4 address that was mapped into IPv6
    is IPv4 again, and a zone, which means something on one machine alone, is left out."""
    with suppress(ValueError):  # A name stays what it is.
        ip = ipaddress.ip_address(host.partition("%")[0])
        host = str(getattr(ip, "ipv4_mapped", None) or ip)
    return show((host, port))


class Challenger:
    """The client's end. ``names`` are what it calls the address that it has connected to."""

    def __init__(self, token: str, service: str, version: str, names: Sequence[str]) -> None:
        self._key = token.encode()
        self.challenge = wire.Challenge(
            wire.PROTOCOL, service, version, secrets.token_bytes(NONCE_BYTES), list(names)
        )
        self._transcript = b""

    def check(self, proof: wire.Proof) -> None:
        """Take the server's answer. Forbidden unless it shows that the server knows the token and
        is where the client has connected to."""
        if proof.name not in self.challenge.names:
            raise Forbidden(f"it answers for another address, {proof.name!r}")
        self._transcript = _transcript(self.challenge, proof)
        expected = _proof(self._key, b"server", self._transcript)
        if not hmac.compare_digest(expected, proof.proof):
            raise Forbidden("the token is wrong: this server does not know it")

    def prove(self, hello: wire.ClientHello) -> None:
        """Put the client's proof into its hello."""
        proof = _proof(self._key, b"client", self._transcript, _unproven(hello))
        hello.proof = msgspec.Raw(wire.encode(proof))


class Challenged:
    """The server's end, of a client that has sent a challenge.

    ``here`` are the names of the addresses at which the server can be met on this connection.
    Raises BadRequest for a challenge that cannot be, Forbidden if the client means another address.
    """

    def __init__(
        self,
        token: str,
        challenge: wire.Challenge,
        service: str,
        version: str,
        incarnation: bytes,
        here: Collection[str],
    ) -> None:
        if len(challenge.nonce) != NONCE_BYTES:
            raise BadRequest(f"a nonce of {len(challenge.nonce)} bytes; it must be {NONCE_BYTES}")
        name = next((each for each in challenge.names if each in here), None)
        if name is None:
            raise Forbidden(
                f"the client has connected to {' or '.join(challenge.names)[:200]}, which is no"
                f" address of this server ({', '.join(sorted(here))}): say it with advertise="
            )
        self._key = token.encode()
        nonce = secrets.token_bytes(NONCE_BYTES)
        self.proof = wire.Proof(wire.PROTOCOL, service, version, incarnation, nonce, name)
        self._transcript = _transcript(challenge, self.proof)
        if token:
            self.proof.proof = _proof(self._key, b"server", self._transcript)

    def proves(self, hello: wire.ClientHello, proof: bytes) -> bool:
        """Whether the hello, with the proof in it, shows that the client knows the token."""
        expected = _proof(self._key, b"client", self._transcript, _unproven(hello))
        return hmac.compare_digest(expected, proof)


def _transcript(challenge: wire.Challenge, proof: wire.Proof) -> bytes:
    return wire.encode([challenge, proof.nonce, proof.incarnation, proof.name, proof.service])


def _unproven(hello: wire.ClientHello) -> bytes:
    """What the client's proof covers of its hello."""
    return wire.encode([hello.service, hello.version, hello.session, hello.resume, hello.metadata])


def _proof(key: bytes, end: bytes, *said: bytes) -> bytes:
    """Each part goes in as MessagePack, with its length, so that no two texts are alike."""
    return hmac.digest(key, wire.encode([b"fastsock.rpc", end, *said]), "sha256")
