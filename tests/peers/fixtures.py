"""The fixture of tests that run programs: pytest_plugins = ["peers.fixtures"]."""

from collections.abc import Iterator

import pytest
from peers.process import Programs


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Starts programs; whatever still runs at the end of the test is killed."""
    started = Programs()
    yield started
    started.close()
