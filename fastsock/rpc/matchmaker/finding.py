"""The route of a stub that asks a matchmaker where its servers are."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

from fastsock.core._lock import Lock
from fastsock.core.address import Address
from fastsock.rpc.context import deadline
from fastsock.rpc.errors import RpcError
from fastsock.rpc.matchmaker.places import is_here
from fastsock.rpc.matchmaker.registry import Instance

__all__ = ["MatchmakerRoute"]

FRESH_SECONDS = 0.2
"""For so long an answer of the matchmaker says whether there are other servers."""

ALONE_SECONDS = 0.05
"""For so long it says that there are none: a call fails then that a new server would have taken,
and a server takes longer than that to begin."""

FAILED_SECONDS = 5.0
"""For so long an address where nobody answered is tried last: about a lease."""

FAILED_MAX = 1000


class _Failures:
    """The addresses where nobody answered in the last seconds, to any stub of this process."""

    def __init__(self) -> None:
        self._at: OrderedDict[Address, float] = OrderedDict()
        self._lock = Lock()

    def add(self, address: Address) -> None:
        with self._lock:
            self._at[address] = monotonic()
            self._at.move_to_end(address)
            if len(self._at) > FAILED_MAX:
                self._at.popitem(last=False)

    def discard(self, address: Address) -> None:
        with self._lock:
            self._at.pop(address, None)

    def __contains__(self, address: Address) -> bool:
        at = self._at.get(address)
        return at is not None and at > monotonic() - FAILED_SECONDS


failures = _Failures()


class MatchmakerRoute:
    """Implements :class:`fastsock.rpc.client.route.Route`.

    ``ask()`` returns what the matchmaker knows now, in the order of turns. While it does not
    answer, what it said before holds: clients do not need it to go on. ``wanted`` names the
    service, for people.
    """

    single = False

    def __init__(self, ask: Callable[[], list[Instance]], wanted: str) -> None:
        self._ask = ask
        self._wanted = wanted
        self._known: list[list[Address]] | None = None
        self._asked_at = -inf
        self._why = ""

    def addresses(self, until: float = inf) -> Sequence[Address]:
        self._refresh(until)
        known = sorted(self._known or (), key=lambda each: not isinstance(each[0], str))
        first = [each[0] for each in known]
        others = [address for each in known for address in each[1:]]
        return sorted([*first, *others], key=failures.__contains__)

    def has_others(self, address: Address, until: float = inf) -> bool:
        age = monotonic() - self._asked_at
        if age > FRESH_SECONDS or (age > ALONE_SECONDS and not self._knows_others(address)):
            self._refresh(until)
        return self._knows_others(address)

    def _knows_others(self, address: Address) -> bool:
        others = [each for each in self._known or () if address not in each]
        return any(each not in failures for other in others for each in other)

    def failed(self, address: Address) -> None:
        failures.add(address)

    def worked(self, address: Address) -> None:
        failures.discard(address)

    def __str__(self) -> str:
        return f"no server of {self._wanted} is registered{self._why}"

    def _refresh(self, until: float) -> None:
        try:
            with deadline(max(0.0, min(until - monotonic(), 1e9))):
                found = self._ask()
        except (OSError, RpcError) as error:
            if self._known is None:
                raise
            self._why = f", and the matchmaker does not answer: {error}"
        else:
            self._known = [usable for each in found if (usable := _usable(each))]
            self._why = ""
        self._asked_at = monotonic()


def _usable(instance: Instance) -> list[Address]:
    """Its addresses that lead there from here, those of UNIX sockets first."""
    here: list[Address] = [each.address for each in instance.locations if is_here(each)]
    return sorted(here, key=lambda each: not isinstance(each, str))
