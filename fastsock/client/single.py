"""One server, one client: the lecture's algorithm 11-2."""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from fastsock.client._accept import Listener
from fastsock.client.endpoint import Endpoint
from fastsock.core import address as addresses
from fastsock.core._lock import Lock
from fastsock.core.closing import Closing
from fastsock.core.forking import disown_in_children, foreign
from fastsock.core.listening import Listening, ListenOptions
from fastsock.core.options import StreamOptions, check_timeout, takes
from fastsock.core.refusals import Refusals
from fastsock.errors import ServerClosed

__all__ = ["REFUSAL", "SingleServer"]

log = logging.getLogger("fastsock")

REFUSAL = b"refused: the server talks to one client at a time, and it has one"
# A refused caller has little time to hang up: others wait to be refused.
REFUSAL_LINGER = 0.2
# What an idle thread takes to end: an accept that does not wait takes it all the same.
LEAVE_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class SingleOptions(ListenOptions, StreamOptions):
    """What a :class:`fastsock.SingleServer` can be told."""

    queue: bool = False
    """Leave callers in the backlog while a client is being served, instead of refusing them."""


class SingleServer(Closing):
    """Serve one client at a time, sending and receiving at the same time.

    The server binds and listens at once; ``accept`` waits for a client. A client that calls while
    another is being served is sent ``REFUSAL`` as a message and closed; with ``queue`` it waits in
    the backlog until the next ``accept``. While nobody is being served, callers wait in any case.

    ``address`` is one, or a list of them. The options, all keyword-only, are the fields of
    :class:`SingleOptions`.

    If this process has no descriptor left for a caller, the caller is closed at once, and a line is
    logged. A forked child closes the descriptors that it has inherited, and its server and its
    connections raise RuntimeError. For a process for each client, accept with ``queue``, give the
    child ``conn.detach()``, and close that descriptor in the parent.

    Raises ValueError or TypeError for an argument that cannot be, OSError that names the address
    that cannot be listened on. Follows algorithm 11-2 of the lecture.
    """

    _closed = True
    _foreign = False
    """Whether it is that of the process that forked this one."""
    _listener: Listener | None = None
    _conn: Endpoint | None
    _refuser: "_Refuser | None"

    @takes(SingleOptions)
    def __init__(self, options: SingleOptions) -> None:
        self._refuse_second_init("_options")
        self._options = options
        self._accepting = Lock()
        self._conn = None
        self._refuser = None
        self._listening = Listening(options)
        self._listening.hand_over(self._listen)
        self._closed = False
        disown_in_children(self)

    def _listen(self, fds: list[int]) -> None:
        refusals = Refusals(self.addresses)
        self._listener = Listener(fds, self._listening.own_count, refusals)

    @property
    def address(self) -> tuple[str, int] | str:
        """Where it listens: ``(host, port)`` with the real port, a path, or ``"@name"``; the first
        of ``addresses``."""
        return self.addresses[0]

    @property
    def addresses(self) -> tuple[tuple[str, int] | str, ...]:
        """All addresses at which it listens."""
        return self._listening.addresses

    def accept(self, *, timeout: float | None = None) -> Endpoint:
        """Wait for the next client; return this end of the connection to it.

        ``timeout`` is in seconds, None for no limit; TimeoutError if nobody has called by then,
        another thread is still in this method, or the last caller that was refused has not left.
        The conversation before must be over, ended by either side; what is left of it is closed.
        Raises RuntimeError while it goes on, ServerClosed after ``close``, and OSError.
        """
        timeout = check_timeout(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        listener = self._open_listener()
        if self._accepting.mine:
            raise RuntimeError("this thread is in accept() already; a signal handler must not call")
        if not self._accepting.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(f"another thread accepts still after {timeout} s")
        try:
            if self._conn and not self._conn.closed:
                shown = addresses.show(self._conn.peer)
                raise RuntimeError(f"the client {shown} is still here; close() its connection")
            if not self._end(_left(until)):
                raise TimeoutError(f"a caller is still being refused after {timeout} s")
            while (caller := listener.take()) is None:
                left = _left(until)
                if left == 0:
                    raise TimeoutError(f"nobody has connected after {timeout} s")
                listener.wait(left)
            return self._begin(listener, *caller)
        finally:
            self._accepting.release()

    def _open_listener(self) -> Listener:
        """Return it. RuntimeError in a forked child, and if no ``__init__`` has run."""
        if self._foreign:
            raise foreign("server")
        if self._listener is None:
            raise RuntimeError("this SingleServer was never opened: use SingleServer(address)")
        return self._listener

    def _begin(self, listener: Listener, fd: int, peer: tuple[str, int] | str) -> Endpoint:
        self._conn = conn = Endpoint._adopted(fd, peer, self._options)
        if not self._options.queue:
            try:
                self._refuser = _Refuser(listener, conn, self._options)
            except BaseException:  # No thread can be started.
                self._end()
                raise
        if (
            self._closed
        ):  # Another thread, or a signal handler, may not have seen this conversation.
            self._end()
            raise ServerClosed("the server is closed")
        return conn

    def _end(self, timeout: float | None = None) -> bool:
        """End the conversation, and the refusing of other callers; False if that takes longer than
        timeout seconds."""
        conn, self._conn = self._conn, None
        if conn:
            conn.close()
            if conn.bytes_unheard:
                log.info("%r: %d bytes that were sent were not received", conn, conn.bytes_unheard)
        refuser, self._refuser = self._refuser, None
        if refuser and not refuser.stop(timeout):
            self._refuser = refuser
            return False
        return True

    def close(self) -> None:
        """Stop listening and close the connection, as its own ``close`` does. Idempotent.

        What its client has sent and nobody has received is lost: ``conn.bytes_unheard`` and the log
        say how much; call ``conn.finish()`` and receive before, to hear it. Callers that wait in
        the backlog are reset by the kernel.

        Any thread may call it; an ``accept`` that waits raises ServerClosed. In a forked child it
        does nothing: there the server is closed from the beginning, and the parent's goes on.
        """
        if self._foreign or self._listener is None:
            return
        self._listening.remove_files()
        self._closed = True
        self._listener.shut()
        self._end()
        self._listener.close()

    def _held(self) -> str:
        if self._closed or self._foreign:
            return ""
        return "its port and thread" if self._refuser else "its port"

    def _drop(self) -> None:
        """Close all but the conversation, which belongs to the program."""
        assert self._listener is not None, "it was open"
        self._listening.remove_files(wait=False)
        self._listener.close()
        if self._refuser:
            self._refuser.leave()

    def _disown(self) -> None:
        self._foreign = True

    def __repr__(self) -> str:
        shown = addresses.show(self.address) if self._listener else "that is not open"
        return f"<SingleServer {shown}>"


class _Refuser(threading.Thread):
    """Refuses callers until the conversation is over."""

    def __init__(self, listener: Listener, conn: Endpoint, options: StreamOptions) -> None:
        super().__init__(name="fastsock refuser", daemon=True)
        self._listener = listener
        self._conn = conn
        self._options = StreamOptions(
            framing=options.framing, message_bytes_max=len(REFUSAL), linger=REFUSAL_LINGER
        )
        self._over = False
        self.start()

    def run(self) -> None:
        try:
            while not self._over and not self._conn.closed:
                self._refuse_next()
        except ServerClosed:
            return
        except OSError as error:
            log.warning("cannot refuse callers, who wait now: %s", error)
        except BaseException:
            log.exception("the thread that refuses callers has failed; they wait now")

    def _refuse_next(self) -> None:
        caller = self._listener.take()
        if caller is None:
            self._listener.wait(None)
            return
        with Endpoint._adopted(*caller, self._options) as end, suppress(OSError):
            end.send(REFUSAL, timeout=0)

    def leave(self) -> None:
        """Let the thread end, and do not wait for that."""
        if not self._over:
            self._over = True
            self._listener.wake()

    def stop(self, timeout: float | None) -> bool:
        """Let it end, and return whether it has within timeout seconds."""
        self.leave()
        self.join(None if timeout is None else max(timeout, LEAVE_SECONDS))
        if self.is_alive():
            return False
        self._listener.calm()
        return True


def _left(until: float | None) -> float | None:
    """Return the seconds until a ``monotonic()``."""
    return None if until is None else max(0.0, until - time.monotonic())
