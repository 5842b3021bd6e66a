"""Sockets that systemd, or what follows its protocol, has opened for this program."""

import os
from collections.abc import Mapping

__all__ = ["listen_fds"]

FIRST = 3
"""SD_LISTEN_FDS_START: the descriptor behind stdin, stdout and stderr."""
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
COUNT_MAX = 1 << 16


def listen_fds(*, unset: bool = True) -> dict[int, str]:
    """The descriptors that this process was started with, and their names, in their order.

    They are of socket units of systemd, or of ``systemd-socket-activate``; hand them in, as in
    ``MultiServer(fd=list(listen_fds()))``. There are none unless ``LISTEN_PID`` is this process. A
    name is the unit's ``FileDescriptorName=``, "unknown" where there is no ``LISTEN_FDNAMES``. Each
    is made close-on-exec, and the environment loses the variables, so that children do not take
    them for their own and a second call finds nothing; with ``unset=False`` it keeps them.

    Raises ValueError for a variable that cannot be, OSError if one is not open. Source:
    sd_listen_fds(3).
    """
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if unset:
        for name in environment:
            del os.environ[name]
    if "LISTEN_PID" not in environment or "LISTEN_FDS" not in environment:
        return {}
    if _number(environment, "LISTEN_PID", 1 << 31) != os.getpid():
        return {}
    fds = range(FIRST, FIRST + _number(environment, "LISTEN_FDS", COUNT_MAX))
    names = ["unknown"] * len(fds)
    if "LISTEN_FDNAMES" in environment:
        names = environment["LISTEN_FDNAMES"].split(":") if fds else []
    if len(names) != len(fds):
        raise ValueError(f"LISTEN_FDNAMES has {len(names)} names for LISTEN_FDS={len(fds)}")
    for fd in fds:
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            told = f"descriptor {fd} of LISTEN_FDS={len(fds)}: {os.strerror(error.errno or 0)}"
            raise OSError(error.errno, told) from None
    return dict(zip(fds, names, strict=True))


def _number(environment: Mapping[str, str], name: str, most: int) -> int:
    text = environment[name]
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise ValueError(f"{name} must be an int from 0 to {most}, not {text!r}")
    return int(text)
