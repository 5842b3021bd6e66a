from collections.abc import Callable
from typing import Any, Self, final

class Place:
    items: Place | None
    keys: Place | None
    values: Place | None
    fixed: list[Place | None] | None
    fields: dict[bytes, Place | None] | None
    @property
    def read_items(self) -> list[Callable[[bytes], Any]]: ...
    @property
    def read_keys(self) -> list[Callable[[bytes], Any]]: ...
    skip_text: bool

@final
class Walk:
    def __init__(self, data: bytes | memoryview, left: int) -> None: ...

@final
class Table:
    def __new__(cls, keys: list[Any], in_set: bool) -> Self: ...

def weigh(
    data: bytes | memoryview, limit: int, array: int, map: int, text: int, long_text: int
) -> int: ...
def check_hashes(data: bytes | memoryview, place: Place) -> None: ...
def check_keys(keys: list[Any], in_set: bool = False) -> None: ...
def is_plain(value: Any, depth: int) -> bool: ...
