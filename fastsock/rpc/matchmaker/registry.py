"""Which servers are registered with a matchmaker, by whom, and until when. No I/O.

A server's **incarnation**, which everybody may know, is made of its **secret**, which only the
server knows: the holder of the secret owns the registration. So a matchmaker need not remember
whose a registration is, not even over its own restart.
"""

import hashlib
import ipaddress
import re
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import msgspec

__all__ = [
    "Instance",
    "Listed",
    "Location",
    "MatchmakerFull",
    "Registry",
    "Unusable",
    "check_location",
    "incarnation_of",
]

FOUND_MAX = 32
"""Instances of one answer: enough to find one that lives."""

LOCATIONS_MAX = 8

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=255)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Incarnation = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Secret = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")


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
    """A server that lives. ``incarnation`` is 16 bytes in hexadecimal, of this run alone, made of
    its secret by :func:`incarnation_of`; ``hostname`` and ``pid`` are for people."""

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
    """The matchmaker, or this client's share of it, has no room for another server."""


class Unusable(Exception):
    """The registration is not taken: its secret is not that of its incarnation, or no server of
    that incarnation answers at any of its locations."""


def incarnation_of(secret: bytes) -> bytes:
    """The name of a server that has this secret; nobody finds the secret from it."""
    return hashlib.sha256(b"fastsock.rpc incarnation" + secret).digest()[:16]


def check_location(location: Location) -> None:
    """Unusable for a location that cannot be the address of a server."""
    host, port = location.host, location.port
    if port == 0:
        if not host.startswith(("/", "@")) or "\0" in host:
            raise Unusable(f"{host[:100]!r} is no absolute path of a UNIX socket")
        return
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if len(host) > 253 or not all(map(_LABEL.match, labels)):
            raise Unusable(f"{host[:100]!r} is no host name or address") from None
        return
    if ip.is_unspecified or ip.is_multicast:
        raise Unusable(f"{host} is no address of a single host")


class _Lease:
    """A registration. ``usable`` is the instance with the locations that clients are told."""

    __slots__ = ("begun", "ends", "instance", "registrant", "tried_at", "usable")

    def __init__(
        self, instance: Instance, usable: Instance, registrant: object, now: float, begun: float
    ) -> None:
        self.instance = instance
        self.usable = usable
        self.registrant = registrant
        self.tried_at = now
        self.begun = begun
        self.ends = 0.0


class Registry:
    """The registrations, each a lease of ``lease`` seconds. Not safe for threads; times are those
    of one monotonic clock. A registrant is a client that registers, any hashable; None counts for
    nobody's share."""

    def __init__(self, lease: float, instances_max: int, per_registrant_max: int) -> None:
        self.lease = lease
        self._instances_max = instances_max
        self._per_registrant_max = per_registrant_max
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        """By incarnation, in the order in which they end: all leases are of one length."""
        self._services: dict[tuple[str, str], dict[str, None]] = {}
        """The incarnations of each service and version, in the order of their turns."""
        self._owners: dict[Location, str] = {}
        """Which incarnation was last seen to answer at a location."""
        self._shares: dict[object, dict[str, None]] = {}
        """The incarnations of each registrant, the oldest first."""
        self._greedy: dict[object, None] = {}
        """Registrants that have more than one, in the order in which they came to that."""

    def renew(self, instance: Instance, registrant: object, now: float, untried: float) -> bool:
        """Renew the lease of exactly that instance. False if it is not known so, or was not tried
        for ``untried`` seconds."""
        self.expire(now)
        lease = self._leases.get(instance.incarnation)
        if lease is None or lease.instance != instance or lease.tried_at <= now - untried:
            return False
        self._move(lease, registrant)
        self._extend(lease, now)
        return True

    def check_room(self, incarnation: str, registrant: object, now: float) -> None:
        """MatchmakerFull if there is no room for a new one of that registrant."""
        self.expire(now)
        if incarnation in self._leases:
            return
        if registrant is not None:
            share = len(self._shares.get(registrant, ()))
            if share >= self._per_registrant_max:
                raise MatchmakerFull(f"this client has registered {share} servers already")
        if len(self._leases) >= self._instances_max and not self._greedy:
            raise MatchmakerFull(f"{self._instances_max} servers are registered already")

    def take(
        self, instance: Instance, usable: Sequence[Location], registrant: object, now: float
    ) -> None:
        """Register an instance that answers at these of its locations. Takes the place of what was
        registered under its incarnation, or at these locations; and if all is full, that of the
        oldest one of a registrant that has several."""
        known = self._leases.get(instance.incarnation)
        self.check_room(instance.incarnation, registrant, now)
        told = msgspec.structs.replace(instance, locations=list(usable))
        lease = _Lease(instance, told, registrant, now, now if known is None else known.begun)
        key = instance.service, instance.version
        if known is not None and (known.instance.service, known.instance.version) == key:
            self._let_go(known)
        elif known is not None:
            self.forget(instance.incarnation)
        for location in usable:
            owner = self._owners.get(location, instance.incarnation)
            if owner != instance.incarnation:
                self.forget(owner)
            self._owners[location] = instance.incarnation
        if instance.incarnation not in self._leases and len(self._leases) >= self._instances_max:
            self.forget(next(iter(self._shares[next(iter(self._greedy))])))
        self._leases[instance.incarnation] = lease
        self._services.setdefault(key, {}).setdefault(instance.incarnation)
        self._join(registrant, instance.incarnation)
        self._extend(lease, now)

    def find(self, service: str, version: str, now: float) -> list[Instance]:
        """Servers of that service in the order to try them, at most 32. The next call begins with
        the next one."""
        self.expire(now)
        turns = self._services.get((service, version), {})
        first = next(iter(turns), None)
        found = [self._leases[each].usable for each in islice(turns, FOUND_MAX)]
        if first is not None:
            turns[first] = turns.pop(first)
        return found

    def listed(self, now: float) -> list[Listed]:
        """All servers, by service and version, the one that lives longest first."""
        self.expire(now)
        leases = sorted(
            self._leases.values(),
            key=lambda each: (each.instance.service, each.instance.version, each.begun),
        )
        return [Listed(each.usable, now - each.begun, each.ends - now) for each in leases]

    def expire(self, now: float) -> None:
        """Forget those whose lease has ended."""
        while self._leases:
            incarnation, oldest = next(iter(self._leases.items()))
            if oldest.ends > now:
                return
            self.forget(incarnation)

    def forget(self, incarnation: str) -> None:
        """Forget a server, if it is known."""
        lease = self._leases.pop(incarnation, None)
        if lease is None:
            return
        self._let_go(lease)
        key = lease.instance.service, lease.instance.version
        turns = self._services[key]
        del turns[incarnation]
        if not turns:
            del self._services[key]

    def _let_go(self, lease: _Lease) -> None:
        """The lease no longer owns its locations, nor counts for its registrant."""
        incarnation = lease.instance.incarnation
        for location in lease.usable.locations:
            if self._owners.get(location) == incarnation:
                del self._owners[location]
        self._leave(lease.registrant, incarnation)

    def _move(self, lease: _Lease, registrant: object) -> None:
        """The registrant has connected anew: it is another one."""
        if lease.registrant == registrant:
            return
        self._leave(lease.registrant, lease.instance.incarnation)
        self._join(registrant, lease.instance.incarnation)
        lease.registrant = registrant

    def _join(self, registrant: object, incarnation: str) -> None:
        share = self._shares.setdefault(registrant, {})
        share[incarnation] = None
        if len(share) > 1 and registrant is not None:
            self._greedy.setdefault(registrant)

    def _leave(self, registrant: object, incarnation: str) -> None:
        share = self._shares[registrant]
        del share[incarnation]
        if len(share) < 2:
            self._greedy.pop(registrant, None)
        if not share:
            del self._shares[registrant]

    def _extend(self, lease: _Lease, now: float) -> None:
        lease.ends = now + self.lease
        self._leases.move_to_end(lease.instance.incarnation)
