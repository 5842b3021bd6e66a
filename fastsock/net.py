"""What a program asks about the network around it: a free port, interfaces, names."""

import errno
import ipaddress
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fastsock import posix
from fastsock.core import address as addresses
from fastsock.posix.flags import InterfaceFlag

__all__ = ["Host", "Interface", "free_port", "interfaces", "resolve"]


def free_port(
    host: str = "",
    family: int = socket.AF_UNSPEC,
    type: int = socket.SOCK_STREAM,
) -> int:
    """Returns a port that nothing uses now: bind to port 0 and ask which it was (bind(2), ip(7)).

    host: the local address to look at, "" for all of them; family: AF_INET or AF_INET6, by default
    every family that host has, both for "": the port is free in each; type: SOCK_STREAM for TCP,
    SOCK_DGRAM for UDP. Another program may take the port before it is used: to be sure, bind to
    port 0 and keep the socket. Looking up a name takes as long as the resolver does, a number no
    time. Raises OSError for a host that is unknown or not of this machine.
    Follows algorithm 11-1 of the lecture.
    """
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be AF_INET or AF_INET6, not {family!r}")
    if type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        raise ValueError(f"type must be SOCK_STREAM or SOCK_DGRAM, not {type!r}")
    found = _look_up(host or None, family, type, socket.AI_PASSIVE)
    with ExitStack() as held:  # A port that is taken elsewhere stays held: the next is another.
        while True:
            port = 0
            try:
                for family, type, protocol, _, address in found:
                    port = _hold(held, (family, type, protocol), address, port) or port
            except OSError as error:
                if port and error.errno == errno.EADDRINUSE:
                    continue
                told = f"{error.strerror}: no port of {host!r} is free"
                raise OSError(error.errno, told) from None
            if port:
                return port
            absent = errno.EADDRNOTAVAIL
            raise OSError(absent, f"{os.strerror(absent)}: no port of {host!r} is free")


def _hold(held: ExitStack, kind: tuple[int, int, int], address: Any, port: int) -> int:
    """Binds a socket to the port of an address, 0 for any; returns which it was, 0 if this machine
    has no such address."""
    try:
        probe = held.enter_context(socket.socket(*kind))
        if kind[0] == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address[0], port, *address[2:]))
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return 0
        raise
    return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of a network interface: getifaddrs(3), netdevice(7).

    Addresses are text, a MAC address for AF_PACKET; what an address does not have is None.
    """

    name: str
    index: int
    flags: InterfaceFlag
    family: socket.AddressFamily
    address: str | None
    netmask: str | None
    broadcast: str | None
    peer: str | None
    hardware: str | None

    def __str__(self) -> str:
        values = {"netmask": self.netmask, "broadcast": self.broadcast, "peer": self.peer}
        shown = [self.name, self.family.name, self.address or self.hardware or "-"]
        shown += [f"{name} {value}" for name, value in values.items() if value]
        return f"{' '.join(shown)} <{self.flags}>"


def interfaces() -> list[Interface]:
    """Returns one record for each address of each network interface, in the kernel's order.

    An address that has a label, such as eth0:1, is told under the name of its interface. The index
    is 0 for an interface that has gone since.
    """
    indexes = {name: index for index, name in socket.if_nameindex()}
    return [_interface(entry, indexes) for entry in posix.getifaddrs()]


@dataclass(frozen=True, slots=True)
class Host:
    """What a name stands for: its official name, its aliases and its numeric addresses."""

    name: str
    aliases: tuple[str, ...]
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, IPv4 first."""
        return self.ipv4 + self.ipv6

    def __str__(self) -> str:
        aliases = f" (also {', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.name}{aliases}: {', '.join(self.addresses)}"


def resolve(name: str) -> Host:
    """Finds the official name, the aliases and every address of a host: getaddrinfo(3).

    It takes as long as the resolver does, without a limit of its own: while the name servers are
    silent, as long as ``timeout`` and ``attempts`` of resolv.conf(5) say, 10 s each by default.

    Raises socket.gaierror, an OSError, for a name that is unknown, and ValueError for what cannot
    be a name.
    """
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {name!r}")
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a host")
    found = _look_up(name, socket.AF_UNSPEC, socket.SOCK_STREAM, socket.AI_CANONNAME)
    ipv4 = [str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET]
    ipv6 = [addresses.host_of(entry[4]) for entry in found if entry[0] == socket.AF_INET6]
    try:
        aliases = socket.gethostbyname_ex(name)[1]
    except (socket.gaierror, socket.herror):  # the name has IPv6 addresses alone
        aliases = []
    return Host(
        name=found[0][3] or name,
        aliases=tuple(dict.fromkeys(aliases)),
        ipv4=tuple(dict.fromkeys(ipv4)),
        ipv6=tuple(dict.fromkeys(ipv6)),
    )


def _look_up(name: str | None, family: int, type: int, flags: int) -> list[Any]:
    """getaddrinfo with an error that names the name."""
    try:
        return socket.getaddrinfo(name, 0, family, type, 0, flags)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror}: {name!r}") from None
    except UnicodeError:
        raise ValueError(f"{name!r} is not the name of a host") from None


def _interface(
    entry: tuple[str, InterfaceFlag, int, Any, Any, Any], indexes: dict[str, int]
) -> Interface:
    label, flags, family, address, netmask, other = entry
    name = _name(label, indexes)
    packet = family == socket.AF_PACKET
    if not packet and other == address:  # glibc's word for "it has none"
        other = None
    broadcasts = flags & InterfaceFlag.IFF_BROADCAST and (
        packet or _is_broadcast(family, address, netmask, other)
    )
    peers = not broadcasts and (not packet or flags & InterfaceFlag.IFF_POINTOPOINT)
    return Interface(
        name=name,
        index=indexes.get(name, 0),
        flags=flags,
        family=socket.AddressFamily(family),
        address=None if packet else _text(name, address),
        netmask=_text(name, netmask),
        broadcast=_text(name, other) if broadcasts else None,
        peer=_text(name, other) if peers else None,
        hardware=_text(name, address) if packet else None,
    )


def _name(label: str, indexes: dict[str, int]) -> str:
    """The interface of an address label, which begins with its name (ip-address(8)); the label
    itself if that is the name, or none fits."""
    if label in indexes:
        return label
    before = label.partition(":")[0]
    fitting = [name for name in indexes if label.startswith(name)]
    return before if before in indexes else max(fitting, key=len, default=label)


def _is_broadcast(family: int, address: Any, netmask: Any, other: Any) -> bool:
    """Whether the other address of an IP address is for broadcasts: getifaddrs(3) gives the peer
    in the same place. The first or last of the network is, and 255.255.255.255."""
    if family != socket.AF_INET or not (address and netmask and other):
        return False
    network = ipaddress.IPv4Network((address[0], netmask[0]), strict=False)
    if other[0] == "255.255.255.255":
        return True
    ends = (str(network.broadcast_address), str(network.network_address))
    return network.prefixlen < 31 and other[0] in ends


def _text(name: str, address: Any) -> str | None:
    """A numeric host, with the interface as its scope where it has one, or a MAC address."""
    match address:
        case (_, _, _, _, bytes(hardware)):
            return hardware.hex(":") or None
        case (str(host), _, _, scope_id) if scope_id:
            return f"{host}%{name}"
        case (str(host), *_):
            return host
        case _:
            return None
