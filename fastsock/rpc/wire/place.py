"""Places: the part of the world from which an address leads to its server.

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
from functools import cache
from pathlib import Path

from fastsock.core.address import is_abstract

__all__ = ["ip_of", "place_of"]

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
    if ip_of(address[0]).is_loopback:
        return f"{_boot()} {_network()}"
    return ""


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The host as an address; that of a name is not known, and is none of the special ones."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return ipaddress.IPv4Address("192.0.2.1")  # Of documentation (RFC 5737).
