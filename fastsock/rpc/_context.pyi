import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

class ContextCore:
    _cancelled: threading.Event | None
    _callbacks: list[Callable[[], object]] | None
    _stream: Callable[[int, int], object] | None
    _ends: list[tuple[Callable[[Any], object], float]] | None
    def __new__(
        cls,
        peer: tuple[str, int] | str,
        method: str,
        metadata: Mapping[str, str],
        deadline: float | None,
    ) -> Self: ...
    @property
    def peer(self) -> tuple[str, int] | str: ...
    @property
    def method(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def deadline(self) -> float | None: ...
