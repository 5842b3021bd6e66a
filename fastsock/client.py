"""The other end of a server: one connection that sends and receives messages."""

from types import TracebackType
from typing import Literal, Self

from fastsock import address as addresses
from fastsock._client import ClientCore

__all__ = ["Client"]


class Client(ClientCore):
    """One connection to a server, framed as the server's. Made by :meth:`Client.connect`.

    One thread may send while another receives. ``with`` closes it.
    """

    peer: tuple[str, int] | str
    """The address that it is connected to, numeric."""

    def __init__(self) -> None:
        raise TypeError("use Client.connect(address)")

    @classmethod
    def connect(
        cls,
        address: addresses.Address,
        *,
        framing: Literal["line", "length", "raw"] = "line",
        timeout: float | None = None,
        message_bytes_max: int = 1 << 16,
        outbox_bytes_max: int = 1 << 20,
        linger: float = 1.0,
    ) -> Self:
        """Connects to ``address``: ``(host, port)``, or the path of a UNIX socket.

        A host of several addresses is tried in the order of RFC 6724. ``timeout`` is in seconds,
        for each address, None for the kernel's own; ``linger`` bounds close().

        Raises ValueError or TypeError for an argument that cannot be, OSError where nobody
        listens, TimeoutError.
        """
        if framing not in ("line", "length", "raw"):
            raise ValueError(f"framing must be one of 'line', 'length', 'raw', not {framing!r}")
        error: OSError | None = None
        for family, sockaddr in addresses.resolve(address):
            client = cls.__new__(cls)
            try:
                client._open(
                    family, sockaddr, framing, message_bytes_max, outbox_bytes_max, timeout
                )
            except OSError as failure:
                error = failure
                continue
            client.peer = sockaddr if isinstance(sockaddr, str) else sockaddr[:2]
            client._linger = linger
            return client
        assert error is not None
        shown = addresses.show(addresses.check(address))
        error.strerror = f"cannot connect to {shown}: {(error.strerror or str(error))}"
        raise error

    _linger: float

    def close(self) -> None:
        """Sends what waits, says so to the peer, and closes; at most ``linger`` seconds.

        Idempotent; a call that waits in another thread raises ConnectionClosed.
        """
        self._close(self._linger)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
