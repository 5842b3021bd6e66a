"""The matchmaker: a service that knows which servers of which services live, and where they are.

A registration is a lease: the server renews it by registering again, and once it ends the server
is forgotten. So a matchmaker needs no memory of its own: one that is started anew has learnt of all
servers within a lease. All time is monotonic, and everything is bounded.

Any client of a matchmaker may register servers. So a registration needs the server's secret
(registry.py), it is tried before clients are told of it (trial.py), and there are only so many of
one client.
"""

import threading
from collections.abc import Iterator
from time import monotonic

from fastsock.core.options import check_count, check_seconds
from fastsock.rpc.context import current
from fastsock.rpc.interface import Service, method
from fastsock.rpc.matchmaker.registry import (
    Incarnation,
    Instance,
    Listed,
    Location,
    MatchmakerFull,
    Name,
    Registry,
    Secret,
    Unusable,
    check_location,
    incarnation_of,
)

__all__ = [
    "DEFAULT_PORT",
    "Instance",
    "Listed",
    "Location",
    "Matchmaker",
    "MatchmakerFull",
    "Unusable",
]

DEFAULT_PORT = 7411
LEASE_MAX = 3600
INSTANCES_MAX = 1_000_000

TRY_AGAIN_LEASES = 10
"""So many leases may pass before a server that renews is tried again."""

SHARE_OF_TRIALS = 4
"""Registrations of one client that are tried at a time."""


class Matchmaker(Service):
    """Tells clients where the servers of a service are. Serve it with :func:`serve`, or run
    ``fastsock-rpc matchmaker``.

    lease               seconds for which a registration holds
    instances_max       servers that may be registered at a time
    per_registrant_max  servers that one client, by its address, may have registered at a time;
                        clients of a UNIX socket have no address and share ``instances_max``
    """

    rpc_name = "fastsock.Matchmaker"

    def __init__(
        self, *, lease: float = 4.0, instances_max: int = 10_000, per_registrant_max: int = 64
    ) -> None:
        from fastsock.rpc.matchmaker.trial import Trials  # needs asyncio, and clients need neither

        check_seconds("lease", lease)
        if not 0 < lease <= LEASE_MAX:
            raise ValueError(f"lease must be more than 0 and at most {LEASE_MAX} s, not {lease!r}")
        check_count("instances_max", instances_max, INSTANCES_MAX)
        check_count("per_registrant_max", per_registrant_max, INSTANCES_MAX)
        self._lease = lease
        self._registry = Registry(lease, instances_max, per_registrant_max)
        self._lock = threading.Lock()
        self._trials = Trials()
        self._tried: dict[object, int] = {}
        """How many registrations of each client are being tried."""

    def expect_token(self, token: str) -> None:
        """Register only servers that prove that they know this token. ``rpc.serve(token=)`` calls
        it with its own."""
        self._trials.token = token

    @method(idempotent=True, raises=[MatchmakerFull, Unusable])
    async def register(self, instance: Instance, secret: Secret) -> float:
        """Take in a server, or renew its lease; return the seconds for which that holds.

        ``secret`` is what the server's incarnation is made of. Raises Unusable if it is not, or if
        the server answers at none of its locations; MatchmakerFull if there is no room.
        """
        _check_secret(instance.incarnation, secret)
        registrant = current().peer or None
        with self._lock:
            if self._registry.renew(
                instance, registrant, monotonic(), TRY_AGAIN_LEASES * self._lease
            ):
                return self._lease
            self._registry.check_room(instance.incarnation, registrant, monotonic())
        for location in instance.locations:
            check_location(location)
        usable = await self._try(instance, registrant)
        if not usable:
            raise Unusable(
                f"no server of {instance.service} version {instance.version} with that incarnation"
                " answers at any of its locations"
            )
        with self._lock:
            self._registry.take(instance, usable, registrant, monotonic())
        return self._lease

    async def _try(self, instance: Instance, registrant: object) -> list[Location]:
        under_way = self._tried.get(registrant, 0)
        if registrant is not None and under_way >= SHARE_OF_TRIALS:
            raise MatchmakerFull(f"{under_way} registrations of this client are being tried")
        self._tried[registrant] = under_way + 1
        try:
            return await self._trials.usable(instance)
        finally:
            self._tried[registrant] -= 1
            if not self._tried[registrant]:
                del self._tried[registrant]

    @method(inline=True, idempotent=True, raises=[Unusable])
    def unregister(self, incarnation: Incarnation, secret: Secret) -> None:
        """Forget a server, if it is known: it drains or ends. Unusable if the secret is not its."""
        _check_secret(incarnation, secret)
        with self._lock:
            self._registry.forget(incarnation)

    @method(inline=True, idempotent=True)
    def find(self, service: Name, version: Name) -> list[Instance]:
        """Servers of that service, in the order to try them; at most 32, and none if there are
        none. The next call begins with the next server: so they take turns."""
        with self._lock:
            return self._registry.find(service, version, monotonic())

    @method
    def instances(self) -> Iterator[Listed]:
        """All servers, by service and version, the one that lives longest first."""
        with self._lock:
            listed = self._registry.listed(monotonic())
        yield from listed


def _check_secret(incarnation: str, secret: str) -> None:
    if incarnation_of(bytes.fromhex(secret)).hex() != incarnation:
        raise Unusable("the secret is not that of the incarnation")
