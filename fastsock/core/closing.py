"""What ``with`` closes."""

from abc import abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing:
    """``with`` calls ``close()`` at its end."""

    @abstractmethod
    def close(self) -> None:
        """Frees what is held. Idempotent."""

    def _refuse_second_init(self, attribute: str) -> None:
        """Raise RuntimeError if the object has the attribute that its ``__init__`` sets."""
        if hasattr(self, attribute):
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
