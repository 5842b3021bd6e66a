"""The command line that all scenarios have in common."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with an argument, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number from low to high."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return parse


def wholes(low: int, high: int) -> Callable[[str], list[int]]:
    """An argument type: whole numbers from low to high with commas between them."""
    one = whole(low, high)
    return lambda text: [one(part) for part in text.split(",")]


def seconds(text: str) -> float:
    """An argument type: a time that a run can take."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.01 to 3600")
    return value


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """An argument type: names that are known, of peers or modes, with commas between them."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(known)}")
            if chosen.count(name) > 1:
                raise argparse.ArgumentTypeError(f"{name!r} is named twice")
        return chosen

    return parse


def json_file(text: str) -> str:
    """An argument type: the name of a file that can be written, or '-' for the standard output."""
    if text != "-":
        try:
            Path(text).open("a").close()
        except OSError as error:
            reason = f"cannot write {text!r}: {error.strerror}"
            raise argparse.ArgumentTypeError(reason) from None
    return text
