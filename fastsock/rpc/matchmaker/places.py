"""What a server announces of its addresses, and which of them lead to it from here."""

import os
import socket
from collections.abc import Sequence

from fastsock.core.address import Address, check, is_abstract, resolve
from fastsock.rpc.matchmaker.registry import LOCATIONS_MAX, Location
from fastsock.rpc.wire.handshake import tcp_name
from fastsock.rpc.wire.place import ip_of, place_of

__all__ = ["announced", "is_here", "names_of", "standing"]


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


def standing(listening: Sequence[tuple[str, int] | str]) -> list[tuple[str, int] | str]:
    """Return the addresses that clients can connect to: not UNIX sockets whose file is gone."""
    files = (each for each in listening if isinstance(each, str) and not is_abstract(each))
    gone = {path for path in files if not os.path.exists(path)}
    return [each for each in listening if each not in gone]


def announced(
    listening: Sequence[tuple[str, int] | str],
    advertise: Address | Sequence[Address] | None,
    matchmaker: Address,
) -> list[Location]:
    """What a server that listens there tells the matchmaker: with ``advertise`` exactly that, else
    the addresses themselves, but for 0.0.0.0 and :: that of this machine towards the matchmaker.

    Raises ValueError if there is none or more than a matchmaker takes, TypeError or ValueError for
    what is no address.
    """
    found = _locations(listening, advertise, matchmaker)
    if len(found) > LOCATIONS_MAX:
        raise ValueError(
            f"a matchmaker tells at most {LOCATIONS_MAX} addresses of a server, not {len(found)}:"
            " say with advertise= which"
        )
    return found


def _locations(
    listening: Sequence[tuple[str, int] | str],
    advertise: Address | Sequence[Address] | None,
    matchmaker: Address,
) -> list[Location]:
    if advertise is None:
        own = [_reachable(address, matchmaker) for address in standing(listening)]
        if not own:
            raise ValueError(
                f"the file of the UNIX socket {listening[0]} is gone: say with advertise= where"
                " clients find the server"
            )
        return [Location.of(address, place_of(address)) for address in dict.fromkeys(own)]
    listed = advertise if isinstance(advertise, list) else [advertise]
    if not listed:
        raise ValueError("advertise must hold at least one address, or be None")
    addresses = [_absolute(check(each)) for each in listed]
    places = [place_of(each) if isinstance(each, str) else "" for each in addresses]
    return list(map(Location.of, addresses, places))


def _reachable(address: tuple[str, int] | str, matchmaker: Address) -> tuple[str, int] | str:
    """The address, with a host that others can connect to."""
    address = _absolute(address)
    if isinstance(address, str) or not ip_of(address[0]).is_unspecified:
        return address
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    plain = check(matchmaker)
    if isinstance(plain, str) or _is_loopback(plain[0]):
        # Clients of that matchmaker are on this machine.
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
    return host == "localhost" or ip_of(host).is_loopback
