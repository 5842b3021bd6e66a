"""The route of a stub that asks a matchmaker where its servers are."""

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic

from fastsock.address import Address
from fastsock.rpc.errors import RpcError
from fastsock.rpc.matchmaker import Instance
from fastsock.rpc.places import is_here

__all__ = ["MatchmakerRoute"]

FRESH_SECONDS = 0.2
"""For so long an answer of the matchmaker says whether there are other servers."""

ALONE_SECONDS = 0.05
"""For so long it says that there are none: a call fails then that a new server would have taken,
and a server takes longer than that to begin."""

FAILED_SECONDS = 5.0
"""For so long an address where nobody answered is tried last: about a lease."""


class MatchmakerRoute:
    """Implements :class:`fastsock.rpc.route.Route`.

    ``ask()`` returns what the matchmaker knows now, in the order of turns. While it does not
    answer, what it said before holds: clients do not need it to go on. ``wanted`` names the
    service, for people.
    """

    def __init__(self, ask: Callable[[], list[Instance]], wanted: str) -> None:
        self._ask = ask
        self._wanted = wanted
        self._known: list[list[Address]] | None = None
        self._asked_at = -inf
        self._failed: dict[Address, float] = {}
        self._why = ""

    def addresses(self) -> Sequence[Address]:
        self._refresh()
        known = sorted(self._known or (), key=lambda each: not isinstance(each[0], str))
        first = [each[0] for each in known]
        others = [address for each in known for address in each[1:]]
        return sorted([*first, *others], key=self._failed.__contains__)

    def has_others(self, address: Address) -> bool:
        age = monotonic() - self._asked_at
        if age > FRESH_SECONDS or (age > ALONE_SECONDS and not self._knows_others(address)):
            self._refresh()
        return self._knows_others(address)

    def _knows_others(self, address: Address) -> bool:
        others = [each for each in self._known or () if address not in each]
        return any(each not in self._failed for other in others for each in other)

    def failed(self, address: Address) -> None:
        self._failed[address] = monotonic()

    def __str__(self) -> str:
        return f"no server of {self._wanted} is registered{self._why}"

    def _refresh(self) -> None:
        before = monotonic() - FAILED_SECONDS
        self._failed = {where: at for where, at in self._failed.items() if at > before}
        try:
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
