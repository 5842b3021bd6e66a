"""Objects that ``with`` closes, and the warning if nothing has closed them."""

import warnings
from abc import abstractmethod
from typing import NoReturn, Self, SupportsIndex

__all__ = ["Closable", "Closing", "Single", "warn_dropped"]


def warn_dropped(thing: object, held: str) -> None:
    """Warn that an object was dropped while it held what ``held`` names, which ends now."""
    warnings.warn(
        f"{thing!r} was dropped without close(); {held} end now:"
        " keep it while it is in use, and close() it then, or use it in a with statement",
        ResourceWarning,
        stacklevel=3,
        source=thing,
    )


class Single:
    """An object that has something of the system's, which a copy of it would close, too."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse ``copy.copy``, ``copy.deepcopy`` and ``pickle``: TypeError."""
        kind = type(self).__name__
        raise TypeError(f"a {kind} cannot be copied or pickled: make another {kind}")


class Closable(Single):
    """``with`` calls ``close()`` at its end."""

    @abstractmethod
    def close(self) -> None:
        """Free what is held. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Closing(Closable):
    """``with`` calls ``close()`` at its end. If an object is dropped without, a ResourceWarning
    says so, and what it holds ends without waiting."""

    @abstractmethod
    def _held(self) -> str:
        """Return in words what ``close`` would free; "" for nothing."""

    @abstractmethod
    def _drop(self) -> None:
        """Free what is held, once nobody has the object any more. It may run in any thread, at any
        point of its work, also during a garbage collection: it waits for nothing."""

    def __del__(self) -> None:
        kind = type(self)
        if held := kind._held(self):
            try:
                warn_dropped(self, held)
            finally:
                kind._drop(self)

    def _refuse_second_init(self, attribute: str) -> None:
        """Raise RuntimeError if the object has the attribute that its ``__init__`` sets."""
        if attribute in vars(self):
            kind = type(self).__name__
            raise RuntimeError(f"__init__ of this {kind} has run already: make another {kind}")
