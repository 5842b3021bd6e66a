"""What a forked child does with what its parent has open: it closes its copies (fork(2)).

A child that kept them would hold the parent's ports and connections open after the parent's end.
"""

import os
import weakref
from typing import Protocol

__all__ = ["disown_in_children", "foreign"]


class Inheritable(Protocol):
    """An object that closes, in a forked child, its copies of the parent's descriptors."""

    def _disown(self) -> None:
        """Closes them and nothing else. It takes no lock, since a thread that is the parent's
        alone may hold it, and does not raise. Idempotent."""


# By id: a subclass of a user's may have no hash.
_open: "weakref.WeakValueDictionary[int, Inheritable]" = weakref.WeakValueDictionary()


def disown_in_children(thing: Inheritable) -> None:
    """From now on a forked child calls ``thing._disown()``."""
    _open[id(thing)] = thing


def foreign(kind: str) -> RuntimeError:
    """The error of a call, in a forked child, of an object that the parent has made."""
    return RuntimeError(f"this {kind} belongs to the process that forked this one")


def _disown_all() -> None:
    for thing in list(_open.values()):
        thing._disown()


os.register_at_fork(after_in_child=_disown_all)
