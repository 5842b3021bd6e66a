"""What becomes of the calls of a link that is lost."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from fastsock.core.address import show
from fastsock.rpc.client._calling import Endings
from fastsock.rpc.client.calls import Call, StreamCall, lost
from fastsock.rpc.client.link import Link
from fastsock.rpc.client.linking import PAUSE_FIRST, PAUSE_MOST, Linking
from fastsock.rpc.errors import ConnectionLost, RpcError

__all__ = ["Recovery"]


class Recovery:
    """Moves calls to the next link where that is right, and ends the others."""

    def __init__(
        self,
        linking: Linking,
        endings: Endings,
        attend: Callable[[Call[Any]], object],
        retry: float,
    ) -> None:
        self._linking = linking
        self._endings = endings
        self._attend = attend
        self._retry = retry
        self._useless_since: float | None = None
        self._pause = PAUSE_FIRST
        self._homeless: dict[Link, list[Call[Any]]] = {}
        """Calls that are to move, by the dead links that they come from."""

    def recover(self, dead: Link, error: Exception, *, move: bool) -> None:
        """Moves the calls of a dead link, or ends them; without ``move`` it ends all of them, and
        waits for nothing. Done callbacks run when nothing is left to do here."""
        calls = [call for call in dead.take_calls() if not call.finished]
        wanted = [call for call in calls if not _cannot_move(call)]
        callbacks = [_end(call, _cut(dead, error)) for call in calls if _cannot_move(call)]
        self._homeless[dead] = wanted
        try:
            if move and wanted and not self._linking.closed and self._may_retry(dead):
                with self._linking.turn:
                    self._move(wanted, dead, error)
        except (OSError, RpcError) as failure:
            error = failure
        finally:
            del self._homeless[dead]
            callbacks += [
                _end(call, lost(call, str(error))) for call in wanted if call.link is dead
            ]
            dead.wake_all()
        self._endings.wake_loops()
        for callback in callbacks:
            callback()

    def end_all(self, error: ConnectionLost) -> None:
        """The stub is closed: the calls that wait to be moved end now, and those that wait for
        them go on."""
        for dead, calls in list(self._homeless.items()):
            for call in calls:
                call.finish(None, lost(call, str(error)))
            dead.recovered.set()

    def _may_retry(self, dead: Link) -> bool:
        """False after ``retry`` seconds of links on which no call was answered."""
        if dead.useful or self._useless_since is None:
            self._useless_since = None if dead.useful else monotonic()
            self._pause = PAUSE_FIRST
            return True
        self._linking.pause(self._pause)
        self._pause = min(2 * self._pause, PAUSE_MOST)
        return monotonic() - self._useless_since <= self._retry

    def _move(self, wanted: list[Call[Any]], dead: Link, error: Exception) -> None:
        link = self._linking.link
        fresh = link is dead
        if fresh:
            link = self._linking.open(dead)
        same = link.hello.resumed and link.session == dead.session
        same = same and link.hello.incarnation == dead.hello.incarnation
        # Numbers only grow: those that keep theirs go first.
        adopted = [call for call in wanted if call.sent_at is not None and not call.resendable]
        for call in sorted(adopted, key=lambda call: call.id) if same else ():
            link.adopt(call)
        for call in wanted:
            if call.link is dead and (call.sent_at is None or call.resendable):
                link.start(call, even_dead=True)
            if call.attended and call.link is link:
                self._attend(call)
        if fresh:
            self._linking.replace(dead, link)
        link.attendant.send()


def _cannot_move(call: Call[Any]) -> bool:
    """A stream of which something may have come cannot go on elsewhere."""
    return isinstance(call, StreamCall) and call.sent_at is not None


def _cut(dead: Link, error: Exception) -> ConnectionLost:
    return ConnectionLost(f"{show(dead.address)}: {error}")


def _end(call: Call[Any], error: RpcError) -> Callable[[], None]:
    """Ends the call; returns what runs its done callbacks."""
    endings = call.connector.endings
    with endings.lock:
        callbacks, call.callbacks = call.callbacks or (), None
    call.finish(None, error)

    def run() -> None:
        for callback in callbacks:
            endings.run_callback(callback, call)

    return run
