"""Checks of the options that servers and clients share, with errors that say what may be."""

import functools
import inspect
from typing import Any, Literal

from fastsock.posix._syscall import SECONDS_MAX, check_timeout

__all__ = [
    "Framing",
    "check_busy_poll",
    "check_callback",
    "check_choice",
    "check_count",
    "check_period",
    "check_result",
    "check_seconds",
    "check_stream",
    "check_timeout",
]

Framing = Literal["line", "length", "raw"]
FRAMINGS = ("line", "length", "raw")


def check_stream(options: dict[str, Any]) -> None:
    """Checks what every end of a framed connection has."""
    check_choice("framing", options["framing"], FRAMINGS)
    _check_final_line(options["final_line"], options["framing"])
    check_count("message_bytes_max", options["message_bytes_max"], (1 << 30) - 1)
    check_count("outbox_bytes_max", options["outbox_bytes_max"], 1 << 31)
    check_busy_poll(options["busy_poll_us"])
    check_seconds("linger", options["linger"])


def _check_final_line(value: object, framing: str) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"final_line must be a bool, not {value!r}")
    if value and framing != "line":
        raise ValueError(f"final_line=True is for framing='line', not {framing!r}")


def check_busy_poll(microseconds: object) -> None:
    """Checks how long a client looks before it sleeps; None leaves it to the client."""
    if microseconds is not None:
        check_count("busy_poll_us", microseconds, 1_000_000, least=0)


def check_callback(name: str, function: object) -> None:
    """Raises TypeError for what cannot be called, or would not run when it is called and not
    awaited or iterated: async functions, generators, and objects and partials of such."""
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
    """Raises TypeError for a coroutine as the result of a callback, which nobody awaits."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(
            f"{function!r} has returned a coroutine, which nobody awaits: give a plain function"
        )


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_period(name: str, value: object) -> None:
    """Raises TypeError or ValueError for what is no time in seconds above 0."""
    check_seconds(name, value)
    if value == 0:
        raise ValueError(f"{name} must be None or more than 0 seconds, not 0")


def check_seconds(name: str, value: object) -> None:
    """Raises TypeError or ValueError for what is no time in seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 <= value <= SECONDS_MAX:
        raise ValueError(f"{name} must be from 0 to 1e9 seconds, not {value!r}")
    if 0 < value < 1e-9:
        raise ValueError(f"{name} must be 0 or at least 1e-9, a nanosecond, not {value!r}")


def check_count(name: str, value: object, most: int, least: int = 1) -> None:
    """Raises TypeError or ValueError for what is no int from least to most."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {value}")
