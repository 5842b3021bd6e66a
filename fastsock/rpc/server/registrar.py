"""Keeps a server registered with a matchmaker, while it lives and takes calls."""

import logging
import random
import threading

from fastsock.core.address import Address, show
from fastsock.rpc.errors import RpcError, Unavailable
from fastsock.rpc.matchmaker.registry import Instance, MatchmakerFull, Unusable
from fastsock.rpc.matchmaker.service import Matchmaker
from fastsock.rpc.stub import connect

__all__ = ["Registrar"]

log = logging.getLogger("fastsock")

CALL_SECONDS = 2.0
"""How long the matchmaker may take for an answer."""

BEATS = 3
"""Renewals in the time of a lease: two may be lost."""

PAUSE_FIRST = 0.1
PAUSE_MOST = 2.0
"""Seconds between attempts, while the matchmaker does not answer."""


class Registrar:
    """Registers at once, then renews on a thread of its own until ``stop``."""

    def __init__(self, instance: Instance, secret: bytes, matchmaker: Address, token: str) -> None:
        self._instance = instance
        self._secret = secret.hex()
        self._matchmaker = matchmaker
        self._token = token
        self._stub: Matchmaker | None = None
        self._failing = False
        self._pause = PAUSE_FIRST
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="fastsock.rpc registrar", daemon=True
        )

    def start(self) -> None:
        """Registers. A matchmaker that does not answer is no reason not to serve: the server goes
        on trying. But one that refuses is a mistake that the user can mend: its RpcError is raised.
        """
        try:
            self._pause = self._register()
        except (Unavailable, OSError, MatchmakerFull, Unusable) as error:
            self._failed(error)
        self._thread.start()

    def stop(self) -> None:
        """Unregisters and ends the thread; takes at most a few seconds. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(2 * CALL_SECONDS)
        else:  # It could not be started.
            self._unregister()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.wait(self._pause):
            try:
                self._pause, failures = self._register(), 0
            except (RpcError, OSError, MatchmakerFull, Unusable) as error:
                self._failed(error)
                failures = min(failures + 1, 10)
                longest = min(PAUSE_FIRST * 2**failures, PAUSE_MOST)
                self._pause = longest * random.uniform(0.5, 1.0)
        self._unregister()

    def _register(self) -> float:
        """Returns the seconds until it is to be done again."""
        if self._stub is None:
            self._stub = connect(
                Matchmaker,
                self._matchmaker,
                token=self._token,
                timeout=CALL_SECONDS,
                connect_timeout=CALL_SECONDS,
            )
        lease = self._stub.register(self._instance, self._secret)
        if self._failing:
            log.info("matchmaker %s: registered again", show(self._matchmaker))
        self._failing = False
        return lease / BEATS

    def _failed(self, error: Exception) -> None:
        if not self._failing:
            name = show(self._matchmaker)
            log.warning("matchmaker %s: not registered, will go on trying: %s", name, error)
        self._failing = True
        self._close()

    def _unregister(self) -> None:
        try:
            if self._stub is not None:
                self._stub.unregister(self._instance.incarnation, self._secret)
        except (RpcError, OSError, Unusable) as error:
            log.info("matchmaker %s: not unregistered: %s", show(self._matchmaker), error)
        self._close()

    def _close(self) -> None:
        if self._stub is not None:
            self._stub.close()
            self._stub = None
