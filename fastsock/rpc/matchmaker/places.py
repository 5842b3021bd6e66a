"""Addresses that lead to their server from some places only, and what a server announces.

The path of a UNIX socket means something on one machine, in one file system: it is the same socket
if it is the same file, by device and inode, under the same boot of the same kernel (the boot id,
proc_sys_kernel(5)). A loopback address, and the name of an abstract UNIX address, mean something in
one network namespace (network_namespaces(7)). So each gets a **place**, a text that a process there
finds out as well, and others do not.

Without /proc, as in some jails, the name of the machine stands for both: two machines of one name
may then take each other's place for theirs. They connect in vain, or are told by the greeting that
this is not the server.
"""

import ipaddress
import os
import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fastsock.core.address import Address, check, is_abstract, resolve
from fastsock.rpc.matchmaker.registry import Location
from fastsock.rpc.wire.handshake import tcp_name

__all__ = ["announced", "is_here", "names_of", "place_of"]


PROC = Path("/proc")


@cache
def _boot() -> str:
    """What tells this boot of this machine from all others."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"host {socket.gethostname()}"


def _network() -> str:
    """What tells this network namespace from the others of this machine."""
    try:
        return f"net {(PROC / 'self/ns/net').stat().st_ino}"
    except OSError:
        return "net"


def place_of(address: tuple[str, int] | str) -> str:
    """The place from which alone the address leads to its server; "" if that is anywhere. OSError
    where the path is not one of here."""
    if isinstance(address, str) and not is_abstract(address):
        found = os.stat(address)
        return f"{_boot()} file {found.st_dev}:{found.st_ino}"
    if isinstance(address, str):
        return f"{_boot()} {_network()} {address}"
    if _ip(address[0]).is_loopback:
        return f"{_boot()} {_network()}"
    return ""


def is_here(location: Location) -> bool:
    """Whether the location is an address that leads to its server from this process."""
    try:
        address = check(location.address)
        return not location.place or place_of(address) == location.place
    except (OSError, ValueError):
        return False


def names_of(listed: Address | Sequence[Address] | None) -> set[str]:
    """What the two ends of a connection call these addresses when they prove to each other where
    they have met: ``host:port``, or the place of the file of a UNIX socket."""
    several = listed if isinstance(listed, list) else [] if listed is None else [listed]
    plain = map(check, several)
    return {place_of(_absolute(e)) if isinstance(e, str) else tcp_name(*e) for e in plain}


def announced(
    listening: Sequence[tuple[str, int] | str],
    advertise: Address | Sequence[Address] | None,
    matchmaker: Address,
) -> list[Location]:
    """What a server that listens there tells the matchmaker: with ``advertise`` exactly that, else
    the addresses themselves, but for 0.0.0.0 and :: that of this machine towards the matchmaker.

    Raises ValueError where there is none, TypeError or ValueError for what is no address.
    """
    if advertise is None:
        own = [_reachable(address, matchmaker) for address in listening]
        return [Location.of(address, place_of(address)) for address in own]
    listed = advertise if isinstance(advertise, list) else [advertise]
    if not listed:
        raise ValueError("advertise must hold at least one address, or be None")
    addresses = [_absolute(check(each)) for each in listed]
    places = [place_of(each) if isinstance(each, str) else "" for each in addresses]
    return list(map(Location.of, addresses, places))


def _reachable(address: tuple[str, int] | str, matchmaker: Address) -> tuple[str, int] | str:
    """The address, with a host that others can connect to."""
    address = _absolute(address)
    if isinstance(address, str) or not _ip(address[0]).is_unspecified:
        return address
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    plain = check(matchmaker)
    if isinstance(plain, str) or _is_loopback(plain[0]):
        # Whoever asks that matchmaker is on this machine.
        return "::1" if family == socket.AF_INET6 else "127.0.0.1", address[1]
    for found, towards in resolve(plain):
        if found == family:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(towards)  # Of UDP: nothing is sent, but the route is chosen.
                return probe.getsockname()[0], address[1]
    raise ValueError(
        f"the server listens on {address[0]} and the matchmaker {plain[0]} is of another family:"
        " say with advertise= where clients find it"
    )


def _absolute(address: tuple[str, int] | str) -> tuple[str, int] | str:
    if isinstance(address, str) and not is_abstract(address):
        return os.path.abspath(address)
    return address


def _is_loopback(host: str) -> bool:
    return host == "localhost" or _ip(host).is_loopback


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The host as an address; that of a name is not known, and is none of the special ones."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return ipaddress.IPv4Address("192.0.2.1")  # Of documentation (RFC 5737).
