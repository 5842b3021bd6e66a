"""One end of a connection, whoever has begun it."""

from fastsock._client import ClientCore
from fastsock.closing import Closing

__all__ = ["Endpoint"]


class Endpoint(Closing, ClientCore):
    """One end of a connection that sends and receives messages; iterate it to receive.

    One thread may send while another receives. ``with`` closes it.
    """

    peer: tuple[str, int] | str
    """The address of the other end, numeric."""

    _linger: float

    def close(self) -> None:
        """Sends what waits, says so to the peer, and closes; at most ``linger`` seconds.

        Idempotent; a call that waits in another thread raises ConnectionClosed.
        """
        self._close(self._linger)
