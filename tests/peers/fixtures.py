"""Fixtures of tests that run programs: pytest_plugins = ["peers.fixtures"]."""

from collections.abc import Callable, Iterator

import pytest
from peers.process import Programs
from peers.terminal import Terminal


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Starts programs; whatever still runs at the end of the test is killed."""
    started = Programs()
    yield started
    started.close()


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Runs fastsock-chat in terminals, which the end of the test closes."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, **options: object) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
