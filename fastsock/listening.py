"""Listening at an address: stale socket files give way, and errors name the address."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from fastsock import address as addresses

__all__ = ["listen"]


def listen(
    address: addresses.Address, bind: Callable[[int, addresses.Sockaddr], object]
) -> Path | None:
    """Calls ``bind(family, sockaddr)``, which has to bind and listen at the address.

    Returns the socket file that is there then, which whoever closes the socket removes; None for
    TCP. Raises OSError that names the address.
    """
    family, sockaddr = addresses.resolve(address, passive=True)[0]
    path = Path(sockaddr) if isinstance(sockaddr, str) else None
    if path:
        _remove_stale(path)
    try:
        bind(family, sockaddr)
    except OSError as error:
        shown = addresses.show(addresses.check(address))
        told = f"cannot listen on {shown}: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, told) from None
    return path


def _remove_stale(path: Path) -> None:
    """Removes the socket file of a server that is gone: connecting to it is refused."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return
