"""The matchmaker: a service that knows which servers of which services live, and where they are.

A registration is a lease: the server renews it by registering again, and once it ends the server
is forgotten. So a matchmaker needs no memory of its own: one that is started anew has learnt of all
servers within a lease. All time is monotonic, and everything is bounded.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic
from typing import Annotated

import msgspec

from fastsock.options import check_count, check_seconds
from fastsock.rpc.interface import Service, method

__all__ = ["DEFAULT_PORT", "Instance", "Listed", "Location", "Matchmaker", "MatchmakerFull"]

DEFAULT_PORT = 7411

FOUND_MAX = 32
"""Instances of one answer: enough to find one that lives."""

LOCATIONS_MAX = 8
LEASE_MAX = 3600
INSTANCES_MAX = 1_000_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Incarnation = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class Location(msgspec.Struct, frozen=True):
    """A host with a port, or the path of a UNIX socket with 0; and the place from which alone it
    leads there: see places.py. "" is anywhere."""

    host: Name
    port: Port
    place: Text = ""

    @classmethod
    def of(cls, address: tuple[str, int] | str, place: str = "") -> "Location":
        """That of an address in its plain form."""
        return cls(address, 0, place) if isinstance(address, str) else cls(*address, place)

    @property
    def address(self) -> tuple[str, int] | str:
        return (self.host, self.port) if self.port else self.host


class Instance(msgspec.Struct, frozen=True):
    """A server that lives. ``incarnation`` is 16 random bytes in hexadecimal, of this run alone;
    ``hostname`` and ``pid`` are for people."""

    service: Name
    version: Name
    incarnation: Incarnation
    locations: Annotated[list[Location], msgspec.Meta(min_length=1, max_length=LOCATIONS_MAX)]
    hostname: Text = ""
    pid: int = 0


class Listed(msgspec.Struct, frozen=True):
    """An instance, the seconds since it first registered, and those until its lease ends."""

    instance: Instance
    age: float
    left: float


class MatchmakerFull(Exception):
    """``instances_max`` servers are registered; more are not taken."""


class _Lease:
    """A registration. ``ends`` grows with each renewal."""

    __slots__ = ("begun", "ends", "instance")

    def __init__(self, instance: Instance, begun: float, ends: float) -> None:
        self.instance = instance
        self.begun = begun
        self.ends = ends


class Matchmaker(Service):
    """Tells clients where the servers of a service are. Serve it with :func:`serve`, or run
    ``fastsock-rpc matchmaker``.

    lease          seconds for which a registration holds
    instances_max  servers that may be registered at a time
    """

    rpc_name = "fastsock.Matchmaker"

    def __init__(self, *, lease: float = 4.0, instances_max: int = 10_000) -> None:
        check_seconds("lease", lease)
        if not 0 < lease <= LEASE_MAX:
            raise ValueError(f"lease must be more than 0 and at most {LEASE_MAX} s, not {lease!r}")
        check_count("instances_max", instances_max, INSTANCES_MAX)
        self._lease = lease
        self._instances_max = instances_max
        self._lock = threading.Lock()
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        """By incarnation, in the order in which they end: all leases are of one length."""
        self._services: dict[tuple[str, str], dict[str, None]] = {}
        """The incarnations of each service and version, in the order of their turns."""

    @method(inline=True, idempotent=True, raises=[MatchmakerFull])
    def register(self, instance: Instance) -> float:
        """Takes in a server, or renews its lease; returns the seconds for which that holds.

        Raises MatchmakerFull where there is no room.
        """
        now = monotonic()
        with self._lock:
            self._expire(now)
            known = self._leases.get(instance.incarnation)
            if known is None and len(self._leases) >= self._instances_max:
                raise MatchmakerFull(f"{self._instances_max} servers are registered already")
            begun = now if known is None else known.begun
            if known is not None and known.instance != instance:
                self._forget(instance.incarnation)
            self._leases[instance.incarnation] = _Lease(instance, begun, now + self._lease)
            self._leases.move_to_end(instance.incarnation)
            key = instance.service, instance.version
            self._services.setdefault(key, {}).setdefault(instance.incarnation)
        return self._lease

    @method(inline=True, idempotent=True)
    def unregister(self, incarnation: Incarnation) -> None:
        """Forgets a server, if it is known: it drains or ends."""
        with self._lock:
            self._forget(incarnation)

    @method(inline=True, idempotent=True)
    def find(self, service: Name, version: Name) -> list[Instance]:
        """Servers of that service, in the order to try them; at most 32, and none if there are
        none. Who asks next begins with the next one: so they take turns."""
        with self._lock:
            self._expire(monotonic())
            turns = self._services.get((service, version), {})
            found = [
                self._leases[incarnation].instance
                for incarnation, _ in zip(turns, range(FOUND_MAX), strict=False)
            ]
            if found:
                first = found[0].incarnation
                turns[first] = turns.pop(first)
        return found

    @method
    def instances(self) -> Iterator[Listed]:
        """All servers, by service and version, the one that lives longest first."""
        now = monotonic()
        with self._lock:
            self._expire(now)
            leases = list(self._leases.values())
        leases.sort(key=lambda each: (each.instance.service, each.instance.version, each.begun))
        for each in leases:
            yield Listed(each.instance, now - each.begun, each.ends - now)

    def _expire(self, now: float) -> None:
        while self._leases:
            incarnation, oldest = next(iter(self._leases.items()))
            if oldest.ends > now:
                return
            self._forget(incarnation)

    def _forget(self, incarnation: str) -> None:
        lease = self._leases.pop(incarnation, None)
        if lease is None:
            return
        key = lease.instance.service, lease.instance.version
        turns = self._services[key]
        del turns[incarnation]
        if not turns:
            del self._services[key]
