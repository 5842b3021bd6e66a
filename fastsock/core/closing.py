"""What ``with`` closes, and what is told when nothing has closed it."""

import warnings
from abc import abstractmethod
from types import TracebackType
from typing import NoReturn, Self, SupportsIndex

__all__ = ["Closing", "Single", "warn_dropped"]


def warn_dropped(thing: object, held: str) -> None:
    """Warns that an object was dropped while it held what ``held`` names, which ends now."""
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
        """Refuses ``copy.copy``, ``copy.deepcopy`` and ``pickle``: TypeError."""
        kind = type(self).__name__
        raise TypeError(f"a {kind} cannot be copied or pickled: make another {kind}")


class Closing(Single):
    """``with`` calls ``close()`` at its end. If an object is dropped without, a ResourceWarning
    says so, and what it holds ends without waiting."""

    @abstractmethod
    def close(self) -> None:
        """Frees what is held. Idempotent."""

    @abstractmethod
    def _held(self) -> str:
        """What ``close`` would free, in words; "" for nothing."""

    @abstractmethod
    def _drop(self) -> None:
        """Frees what is held, when nobody has the object any more. It runs in any thread, at any
        place of its work, the collection of garbage included: it waits for nothing and nobody."""

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
