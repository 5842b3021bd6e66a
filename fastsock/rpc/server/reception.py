"""The greeting at the server: what a client must say before anything is done for it.

A connection that has said nothing yet is bounded in time, and in what it may send. Its ``context``
is None, or Challenged once it has asked the server for its proof.
"""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from fastsock.errors import ConnectionClosed
from fastsock.rpc import wire
from fastsock.rpc.context import metadata_size
from fastsock.rpc.errors import BadRequest, Forbidden, VersionMismatch
from fastsock.rpc.server.limits import Limits
from fastsock.rpc.server.session import Session
from fastsock.rpc.signature import Interface
from fastsock.rpc.wire.handshake import Challenged, tcp_name
from fastsock.server._connection import Connection

__all__ = ["Reception"]

HELLO_BYTES_MAX = 1 << 14
"""The longest frame of a client that has not been greeted."""

CROWDED = 10
"""The time for a hello is so many times shorter while silent connections take half of what is
left."""

LOOK_SECONDS = 0.5
"""How often silent connections are counted, at least."""

_CHALLENGE = bytes([wire.CHALLENGE])


class Reception:
    """Greets the clients of a server, and sends those away that do not greet."""

    def __init__(
        self,
        interface: Interface,
        incarnation: bytes,
        methods: Mapping[str, wire.MethodInfo],
        token: str,
        limits: Limits,
        look: Callable[[], object],
    ) -> None:
        """``look()`` asks for a call of ``hang_up_on_silent`` soon."""
        self.names: set[str] = set()
        """By which clients may call the addresses at which they meet this server."""
        self._interface = interface
        self._incarnation = incarnation
        self._methods = dict(methods)
        self._token = token
        self._limits = limits
        self._look = look
        self._silent: deque[tuple[float, Connection]] = deque()

    # ---- Silence ----

    def connected(self, conn: Connection) -> None:
        """A client has come. The handler of the engine."""
        self._silent.append((monotonic(), conn))
        if len(self._silent) == 1:
            self._look()

    def hang_up_on_silent(self, connection_count: int) -> float | None:
        """Closes the connections that have had their time to say hello; returns in how many seconds
        to look again, None if all have greeted."""
        silent, now = self._silent, monotonic()
        for _ in range(len(silent)):  # Others may come at the end.
            begun, conn = silent.popleft()
            greeted = conn.context is False or isinstance(conn.context, Session)
            if not greeted and conn.reason is None:
                silent.append((begun, conn))
        limit = self._limits.greeting_seconds
        if 2 * len(silent) > self._limits.places - connection_count:
            limit /= CROWDED
        while silent and silent[0][0] <= now - limit:
            silent.popleft()[1].close()
        return min(LOOK_SECONDS, limit / CROWDED) if silent else None

    # ---- Hello ----

    def hear(self, conn: Connection, frame: bytes) -> wire.ClientHello | None:
        """Takes a frame of a client that has not been greeted: returns its hello, or None if it was
        a challenge, which is answered. An RpcError if it must not be let in."""
        if frame[:1] == _CHALLENGE and conn.context is None:
            self._answer_challenge(conn, frame)
            return None
        return self._read_hello(frame, conn.context)

    def welcome(self, session: Session, *, resumed: bool) -> bytes:
        """The frame of the server's hello."""
        hello = wire.ServerHello(
            wire.PROTOCOL,
            self._interface.name,
            self._interface.version,
            self._incarnation,
            resumed,
            session.highest,
            sorted(session.incomplete),
            self._limits.calls_max,
            self._limits.body_bytes_max,
            self._methods,
        )
        return wire.frame(wire.HELLO, payload=wire.encode(hello))

    def _answer_challenge(self, conn: Connection, frame: bytes) -> None:
        """Proves that this server knows the token, before the client says anything of itself."""
        try:
            challenge = wire.read_challenge(memoryview(frame)[wire.HEADER_BYTES :])
        except wire.Malformed as error:
            raise BadRequest(f"the challenge cannot be read: {error}") from None
        self._check_protocol(challenge)
        self._check_wanted(challenge)
        with suppress(ConnectionClosed):
            where = conn.address
            here = self.names if isinstance(where, str) else self.names | {tcp_name(*where)}
            ours = self._interface
            conn.context = Challenged(
                self._token, challenge, ours.name, ours.version, self._incarnation, here
            )
            proof = wire.encode(conn.context.proof)
            conn.send(wire.frame(wire.PROOF, payload=proof))

    def _read_hello(self, frame: bytes, challenged: Challenged | None) -> wire.ClientHello:
        if len(frame) < wire.HEADER_BYTES or frame[0] != wire.HELLO:
            raise BadRequest("the first frame is not a hello of fastsock.rpc")
        try:
            hello = wire.read_client_hello(memoryview(frame)[wire.HEADER_BYTES :])
        except wire.Malformed as error:
            raise BadRequest(f"the hello cannot be read: {error}") from None
        self._check_protocol(hello)
        self._check_token(hello, challenged)
        self._check_wanted(hello)
        size, most = metadata_size(hello.metadata), self._limits.metadata_bytes_max
        if size > most:
            raise BadRequest(f"metadata of {size} bytes; metadata_bytes_max is {most}")
        if not 8 <= len(hello.session) <= 64:
            raise BadRequest(f"a session of {len(hello.session)} bytes; it must be of 8 to 64")
        return hello

    def _check_protocol(self, said: wire.Challenge | wire.ClientHello) -> None:
        if said.protocol != wire.PROTOCOL:
            raise VersionMismatch(f"protocol {said.protocol}; this server speaks {wire.PROTOCOL}")

    def _check_wanted(self, said: wire.Challenge | wire.ClientHello) -> None:
        """VersionMismatch unless the client wants what is served here."""
        ours = self._interface
        if said.service and (said.service, said.version) != (ours.name, ours.version):
            raise VersionMismatch(
                f"it serves {ours.name} version {ours.version}, not {said.service[:100]} version"
                f" {said.version[:100]}"
            )

    def _check_token(self, hello: wire.ClientHello, challenged: Challenged | None) -> None:
        try:
            proof = wire.proof_of(hello)
        except wire.Malformed:
            raise BadRequest("the proof in the hello is no bytes") from None
        except wire.ClearToken:
            raise VersionMismatch(
                "the client sends its token in clear, as old ones did: it needs a newer fastsock"
            ) from None
        if challenged is not None:
            if not challenged.proves(hello, proof):
                raise Forbidden("the token is wrong")
        elif self._token:
            raise Forbidden("a token is needed, with a challenge first")
