"""Sockets that the program has made, or was started with, and hands in: looked at before they are
taken over."""

import os
import socket as std
from collections.abc import Iterator
from contextlib import contextmanager

from fastsock.core import address as addresses
from fastsock.core.options import check_count

__all__ = ["Handed", "check_connected", "check_listening", "take"]

Handed = std.socket | int
"""A socket of the socket module (or of fastsock), or a descriptor."""

FAMILIES = (std.AF_INET, std.AF_INET6, std.AF_UNIX)


def check_listening(given: Handed) -> tuple[int, tuple[str, int] | str]:
    """The descriptor of a listening stream socket, and its address.

    Raises TypeError or ValueError that says what it is instead, OSError for a descriptor that is
    not open. Whatever comes of it, the socket is still the caller's.
    """
    with _looked_at(given) as sock:
        if not sock.getsockopt(std.SOL_SOCKET, std.SO_ACCEPTCONN):
            raise ValueError(f"{_shown(given)} does not listen: call its listen() first")
        return sock.fileno(), addresses.plain_of(sock.getsockname())


def check_connected(given: Handed) -> tuple[int, tuple[str, int] | str]:
    """The descriptor of a connected stream socket, and its peer's address. As above."""
    with _looked_at(given) as sock:
        try:
            return sock.fileno(), addresses.plain_of(sock.getpeername())
        except OSError as error:
            told = f"{_shown(given)} is not connected: {os.strerror(error.errno or 0)}"
            raise ValueError(told) from None


def take(given: Handed) -> None:
    """Leave the descriptor of a socket that was looked at to its new owner."""
    if isinstance(given, std.socket):
        given.detach()


@contextmanager
def _looked_at(given: Handed) -> Iterator[std.socket]:
    if isinstance(given, std.socket):
        _check_kind(given, given)
        yield given
        return
    check_count("fd", given, (1 << 31) - 1, least=0)
    try:
        sock = std.socket(fileno=given)
    except OSError as error:
        raise OSError(error.errno, f"fd {given}: {os.strerror(error.errno or 0)}") from None
    try:
        _check_kind(sock, given)
        yield sock
    finally:
        sock.detach()


def _check_kind(sock: std.socket, given: Handed) -> None:
    if sock.fileno() < 0:
        raise ValueError(f"{given!r} is closed")
    if hasattr(sock, "do_handshake"):  # of ssl.SSLSocket, which need not be imported for this
        raise TypeError(f"{given!r} speaks TLS, which would be left out here: hand in a plain one")
    if sock.type != std.SOCK_STREAM or sock.family not in FAMILIES:
        raise ValueError(f"{_shown(given)} must be a stream socket of TCP or UNIX, not {sock!r}")


def _shown(given: Handed) -> str:
    return repr(given) if isinstance(given, std.socket) else f"fd {given}"
