"""What the user calls an address, checked and resolved.

An address is ``(host, port)`` for TCP over IPv4 and IPv6; a path for a UNIX socket: a ``str``
with a ``/`` in it, or a :class:`pathlib.Path`; or ``"@name"``, a name in the abstract namespace of
UNIX sockets (unix(7)), which is no file. A ``str`` that begins with ``@`` is such a name: the path
is ``"./@name"``.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastsock.core.lookup import look_up

__all__ = [
    "Address",
    "Sockaddr",
    "check",
    "host_of",
    "is_abstract",
    "of_internet",
    "plain_of",
    "resolve",
    "show",
]

Address = tuple[str, int] | str | Path
"""What users pass."""

Sockaddr = tuple[Any, ...] | str
"""What the kernel is given: an address of the socket module, a path, or NUL and a name."""

UNIX_PATH_BYTES_MAX = 107
"""sun_path holds 108 bytes with its final NUL (unix(7))."""


def check(address: object) -> tuple[str, int] | str:
    """Returns the address in its plain form, ``(host, port)``, a path or ``"@name"``.

    Raises ValueError or TypeError with the form that would be right.
    """
    if isinstance(address, Path):
        path = os.fspath(address)
        return _check_path(f"./{path}" if "/" not in path or is_abstract(path) else path)
    if isinstance(address, str):
        if "/" in address or is_abstract(address):
            return _check_path(address)
        raise ValueError(_not_a_path(address))
    if not isinstance(address, Sequence) or len(address) != 2:
        raise TypeError(f"address must be (host, port), a path or '@name', not {address!r}")
    host, port = address
    if not isinstance(host, str):
        raise TypeError(f"host must be a str such as '127.0.0.1', not {host!r}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int from 0 to 65535, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    if not host:
        raise ValueError("host must not be empty: '127.0.0.1' is this machine, '0.0.0.0' is any")
    if "\0" in host:
        raise ValueError(f"host must not contain NUL: {host!r}")
    return host, port


def resolve(
    address: object, *, passive: bool = False, timeout: float | None = None
) -> list[tuple[int, Sockaddr]]:
    """Every stream address that ``address`` stands for, in the order to try them (RFC 6724).

    ``passive`` asks for addresses to listen on. Raises OSError (socket.gaierror) naming a host
    that is unknown, TimeoutError if that is not known after ``timeout`` seconds.
    """
    plain = check(address)
    if isinstance(plain, str):
        return [(int(socket.AF_UNIX), "\0" + plain[1:] if is_abstract(plain) else plain)]
    host, port = plain
    flags = socket.AI_PASSIVE if passive else 0
    try:
        found = look_up(host, port, flags=flags, timeout=timeout)
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"unknown host {host!r}: {error.strerror}") from None
    except UnicodeError:
        raise ValueError(f"host is no valid name: {host!r}") from None
    return of_internet(found)


def of_internet(found: list[Any]) -> list[tuple[int, Sockaddr]]:
    """Families and addresses of what getaddrinfo has found, those of IPv4 and IPv6."""
    families = (socket.AF_INET, socket.AF_INET6)
    return [(int(family), address) for family, *_, address in found if family in families]


def is_abstract(plain: tuple[str, int] | str) -> bool:
    """Whether an address in its plain form is a name in the abstract namespace."""
    return isinstance(plain, str) and plain.startswith("@")


def plain_of(sockaddr: Sockaddr | bytes) -> tuple[str, int] | str:
    """The plain form of what :func:`resolve` or the socket module calls an address."""
    if isinstance(sockaddr, tuple):
        return host_of(sockaddr), sockaddr[1]
    path = os.fsdecode(sockaddr)
    return f"@{path[1:]}" if path.startswith("\0") else path


def host_of(sockaddr: tuple[Any, ...]) -> str:
    """The numeric host of an address of the socket module, with the scope that it needs to lead
    back there: ``fe80::1%eth0``."""
    host, scope_id = str(sockaddr[0]), sockaddr[3] if len(sockaddr) == 4 else 0
    if not scope_id or "%" in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope_id)}"
    except OSError:  # The interface has gone.
        return f"{host}%{scope_id}"


def show(address: object) -> str:
    """The address as people write it: ``127.0.0.1:9000``, ``[::1]:9000``, ``/tmp/socket``,
    ``@name``."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return str(address) or "(unnamed)"


def _check_path(path: str) -> str:
    """Checks a path, or the name of an abstract address, whose ``@`` stands for a NUL."""
    size = len(os.fsencode(path))
    what = "name" if is_abstract(path) else "path"
    if "\0" in path:
        raise ValueError(f"{what} must not contain NUL: {path!r}")
    if path == "@":
        raise ValueError("name of an abstract UNIX address must not be empty: '@name'")
    if size > UNIX_PATH_BYTES_MAX:
        raise ValueError(
            f"{what} of a UNIX socket must be at most {UNIX_PATH_BYTES_MAX} bytes,"
            f" not {size}: {path!r}"
        )
    return path


def _not_a_path(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        return f"address must be a tuple: ({host.strip('[]')!r}, {port}), not {address!r}"
    return (
        f"address must be (host, port), '@name' or a path with a '/': './{address}',"
        f" not {address!r}"
    )
