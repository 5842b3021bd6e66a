"""The messages of a run, made of the same bytes as csrc/bench.h makes and csrc/sink.c checks."""

from collections.abc import Iterator
from itertools import count, cycle, islice
from time import monotonic

CYCLE = 256
"""So many messages are made ready for a timed run and sent over and over."""

DIGITS_MAX = 8
FILLER = bytes(range(ord("!"), ord("~") + 1))


def message(number: int, size: int) -> bytes:
    """The `size` bytes of a message without its newline: its number in hexadecimal, then filler."""
    digits = min(size, DIGITS_MAX)
    start = number % len(FILLER)
    filler = (FILLER * (size // len(FILLER) + 2))[start : start + size - digits]
    return b"%0*x" % (digits, number % 16**digits) + filler


class Load:
    """What a server has to publish in one run: as much as it can until the time is over.

    `distinct` messages are numbered without end and made while they are published, for the pass
    that checks every byte; otherwise making them must cost nothing, and a few come again and again.
    `messages` counts what was handed out.
    """

    def __init__(self, size: int, seconds: float, *, distinct: bool) -> None:
        self.size = size
        self.seconds = seconds
        self.messages = 0
        self._ready = [] if distinct else [message(i, size) for i in range(CYCLE)]

    def chunks(self, length: int) -> Iterator[list[bytes]]:
        """Yields lists of `length` messages, and looks at the clock once for each list."""
        deadline = monotonic() + self.seconds
        chunks = self._repeated(length) if self._ready else self._distinct(length)
        while monotonic() < deadline:
            yield next(chunks)
            self.messages += length

    def _repeated(self, length: int) -> Iterator[list[bytes]]:
        ready = list(islice(cycle(self._ready), CYCLE + length))
        start = 0
        while True:
            yield ready[start : start + length]
            start = (start + length) % CYCLE

    def _distinct(self, length: int) -> Iterator[list[bytes]]:
        for start in count(0, length):
            yield [message(number, self.size) for number in range(start, start + length)]


class Pace:
    """What a server has to publish at a pace: so many messages, `rate` of them a second."""

    def __init__(self, size: int, messages: int, rate: float) -> None:
        self.size = size
        self.messages = messages
        self.rate = rate
        self.started = monotonic()

    def due(self) -> Iterator[tuple[float, bytes]]:
        """Yields each message, made before its time, and when it is due by the monotonic clock."""
        for number in range(self.messages):
            yield self.started + number / self.rate, message(number, self.size)
