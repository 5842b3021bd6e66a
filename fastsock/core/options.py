"""Options that servers and clients share, and checks with errors that say what is right."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from fastsock.posix._syscall import SECONDS_MAX, check_timeout

__all__ = [
    "Framing",
    "StreamOptions",
    "check_callback",
    "check_choice",
    "check_count",
    "check_period",
    "check_result",
    "check_seconds",
    "check_timeout",
    "takes",
]

Framing = Literal["line", "length", "raw"]
FRAMINGS = ("line", "length", "raw")


P = ParamSpec("P")
Owner = TypeVar("Owner")
Options = TypeVar("Options")
Result = TypeVar("Result")


def takes(
    kind: Callable[P, Options],
) -> Callable[[Callable[[Owner, Options], Result]], Callable[Concatenate[Owner, P], Result]]:
    """Decorate a method of one argument, an object of ``kind``: callers pass what makes that.

    So options are written down once, as the fields of a dataclass that checks itself.
    """

    def decorate(
        method: Callable[[Owner, Options], Result],
    ) -> Callable[Concatenate[Owner, P], Result]:
        @functools.wraps(method)
        def taking(owner: Owner, /, *args: P.args, **options: P.kwargs) -> Result:
            return method(owner, kind(*args, **options))

        own = list(inspect.signature(method).parameters.values())[:1]
        fields = inspect.signature(kind).parameters.values()
        shown = inspect.Signature([*own, *fields])
        taking.__signature__ = shown  # type: ignore[attr-defined]
        return taking

    return decorate


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What every end of a framed connection can be told. Raises TypeError or ValueError for a value
    that cannot be. Sizes are in bytes, times in seconds."""

    framing: Framing = "line"
    """"line": text that ends with a newline; "length": a big-endian u32, then so many bytes;
    "raw": none, a message is what arrived at once."""
    final_line: bool = False
    """For "line": what the peer sends last, without a newline, is a message, too. Otherwise it is
    an error: "unfinished message"."""
    message_bytes_max: int = 1 << 16
    """The longest message, in either direction."""
    outbox_bytes_max: int = 1 << 20
    """What may be queued for one peer alone."""
    linger: float = 1.0
    """How long ``close()`` waits for peers to take what is queued for them."""
    busy_poll_us: int | None = 0
    """Microseconds to spin for input before sleeping: latency for CPU time. None, for clients: up
    to 50, as long as messages do arrive that soon."""

    def __post_init__(self) -> None:
        check_choice("framing", self.framing, FRAMINGS)
        _check_final_line(self.final_line, self.framing)
        check_count("message_bytes_max", self.message_bytes_max, (1 << 30) - 1)
        check_count("outbox_bytes_max", self.outbox_bytes_max, 1 << 31)
        if self.busy_poll_us is not None:
            check_count("busy_poll_us", self.busy_poll_us, 1_000_000, least=0)
        check_seconds("linger", self.linger)


def _check_final_line(value: object, framing: str) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"final_line must be a bool, not {value!r}")
    if value and framing != "line":
        raise ValueError(f"final_line=True is for framing='line', not {framing!r}")


def check_callback(name: str, function: object) -> None:
    """Raise TypeError for what cannot be called, or would not run unless it is awaited or iterated:
    async functions, generators, and objects and partials of such."""
    if not callable(function):
        raise TypeError(f"{name} must be a function, not {function!r}")
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    for each in (inner, type(inner).__call__):
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            raise TypeError(
                f"{name} is called, not awaited, so {function!r}, which is async,"
                " would never run: give a plain function"
            )
        if inspect.isgeneratorfunction(each):
            raise TypeError(
                f"{name} is called, not iterated, so {function!r}, a generator,"
                " would never run: give a plain function"
            )


def check_result(function: object, result: object) -> None:
    """Raise TypeError if a callback has returned a coroutine, which nobody awaits."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            f"{function!r} has returned a coroutine, which nobody awaits: give a plain function"
        )


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_period(name: str, value: object) -> None:
    """Raise TypeError or ValueError for what is no time in seconds above 0."""
    check_seconds(name, value)
    if value == 0:
        raise ValueError(f"{name} must be None or more than 0 seconds, not 0")


def check_seconds(name: str, value: object) -> None:
    """Raise TypeError or ValueError for what is no time in seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 <= value <= SECONDS_MAX:
        raise ValueError(f"{name} must be from 0 to 1e9 seconds, not {value!r}")
    if 0 < value < 1e-9:
        raise ValueError(f"{name} must be 0 or at least 1e-9, a nanosecond, not {value!r}")


def check_count(name: str, value: object, most: int, least: int = 1) -> None:
    """Raise TypeError or ValueError for what is no int from least to most."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {value}")
