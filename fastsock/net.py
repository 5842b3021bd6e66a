"""What a program asks about the network around it: a free port, interfaces, names."""

import socket
from dataclasses import dataclass
from typing import Any

from fastsock import posix
from fastsock._flags import InterfaceFlag

__all__ = ["Host", "Interface", "free_port", "interfaces", "resolve"]


def free_port(
    host: str = "",
    family: int = socket.AF_UNSPEC,
    type: int = socket.SOCK_STREAM,
) -> int:
    """Returns a port that nothing uses now: bind to port 0 and ask which it was (bind(2), ip(7)).

    host: the local address to look at, "" for all of them; family: AF_INET or AF_INET6, by default
    what host is, IPv4 for ""; type: SOCK_STREAM for TCP, SOCK_DGRAM for UDP. Another program may
    take the port before it is used: to be sure, bind to port 0 and keep the socket. Raises OSError
    for a host that is unknown or not of this machine. Follows algorithm 11-1 of the lecture.
    """
    if family == socket.AF_UNSPEC and not host:
        family = socket.AF_INET
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"family must be AF_INET or AF_INET6, not {family!r}")
    if type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        raise ValueError(f"type must be SOCK_STREAM or SOCK_DGRAM, not {type!r}")
    found = _look_up(host or None, family, type, socket.AI_PASSIVE)
    family, type, protocol, _, address = found[0]
    with socket.socket(family, type, protocol) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: no port of {host!r} is free") from None
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

    The index is 0 for an interface that has gone meanwhile.
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

    Raises socket.gaierror, an OSError, for a name that is unknown, and ValueError for what cannot
    be a name.
    """
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {name!r}")
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a host")
    found = _look_up(name, socket.AF_UNSPEC, socket.SOCK_STREAM, socket.AI_CANONNAME)
    ipv4 = [str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET]
    ipv6 = [str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET6]
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
    name, flags, family, address, netmask, other = entry
    packet = family == socket.AF_PACKET
    return Interface(
        name=name,
        index=indexes.get(name.partition(":")[0], 0),
        flags=flags,
        family=socket.AddressFamily(family),
        address=None if packet else _text(name, address),
        netmask=_text(name, netmask),
        broadcast=_text(name, other) if flags & InterfaceFlag.IFF_BROADCAST else None,
        peer=_text(name, other) if flags & InterfaceFlag.IFF_POINTOPOINT else None,
        hardware=_text(name, address) if packet else None,
    )


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
