"""What the server of a peer of the relay answers (server.py says how).

    relay N   {"clients": N}, once N clients are connected; what one more says goes to all of them

csrc/limit.c speaks the same protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.ends.server import answer, obey


def serve(
    port: int,
    accept: Callable[[int], None],
    *,
    speaker_port: int | None = None,
    helpers: Sequence[int] = (),
) -> None:
    """Answers the commands on stdin until it ends. Helpers are processes that work for this one.

    accept returns once so many clients are connected, and the next one will be relayed; it comes
    to the same port, or to the speaker's.
    """

    def relay(count: str) -> Mapping[str, Any]:
        accept(int(count))
        return {"clients": int(count)}

    answer(port=port, speaker_port=speaker_port or port, helpers=list(helpers))
    obey({"relay": relay})


def accepted_already(count: int) -> None:
    """For a broker: it has answered each client's subscription, so there is nothing to wait for."""
