"""One end of a connection: a client's, or that of a server of one client."""

from typing import Self

from fastsock.client._endpoint import ClientCore
from fastsock.core import address as addresses
from fastsock.core.closing import Closing
from fastsock.core.options import StreamOptions

__all__ = ["Endpoint"]


class Endpoint(ClientCore, Closing):
    """One end of a connection that sends and receives messages; iterate it to receive.

    One thread may send while another receives. ``with`` closes it.
    """

    peer: tuple[str, int] | str
    """The address of the other end, numeric."""

    _options: StreamOptions
    _linger = 0.0

    def __init__(self, *given: object, **options: object) -> None:
        address = repr(given[0]) if given else "address"
        raise TypeError(
            f"use Client.connect({address}), or SingleServer(address).accept() at the other end"
        )

    @classmethod
    def _adopted(cls, fd: int, peer: tuple[str, int] | str, options: StreamOptions) -> Self:
        """Take over a connected socket that does not block."""
        end = cls.__new__(cls)
        end._adopt(fd, options)
        end.peer = peer
        end._options = options
        end._linger = options.linger
        return end

    def close(self) -> None:
        """Send what is queued, shut this side, and close; takes at most ``linger`` seconds.

        What the peer has said and nobody has received is thrown away, and so is what it says until
        then: ``bytes_unheard`` says how much. To hear it, call ``finish()`` first, and receive.

        Idempotent; a call that waits in another thread raises ConnectionClosed. In a forked child
        the connection is closed from the beginning, and the parent's goes on.
        """
        self._close(self._linger)

    def _drop(self) -> None:
        self._close(0.0)

    def __repr__(self) -> str:
        peer = getattr(self, "peer", None)
        kind = type(self).__name__
        return f"<{kind}>" if peer is None else f"<{kind} {addresses.show(peer)}>"
