"""Objects that were not made as they should be: clear errors, no crash and no leak."""

import subprocess
import sys

import pytest
from conftest import open_descriptors

from fastsock import MultiServer, SingleServer

CALL_ALL = """
import faulthandler, fastsock
from fastsock import Connection
from fastsock.server._connection import Channel
faulthandler.enable()
conn, channel = Connection.__new__(Connection), Channel.__new__(Channel)
calls = {
    "peer": lambda: conn.peer,
    "address": lambda: conn.address,
    "repr": lambda: repr(conn),
    "send": lambda: conn.send(b"x"),
    "close": lambda: conn.close(),
    "_trust": lambda: conn._trust(),
    "stats": lambda: conn.stats(),
    "subscribe": lambda: channel.subscribe(conn),
    "unsubscribe": lambda: channel.unsubscribe(conn),
    "publish": lambda: channel.publish(b"x"),
    "publish_many": lambda: channel.publish_many([b"x"]),
}
for name, call in calls.items():
    try:
        call()
    except TypeError as error:
        assert "made by their server" in str(error), (name, error)
    else:
        raise AssertionError(name)
"""


def test_connections_and_channels_made_by_new_are_refused():
    """In a process of its own, which a crash would end."""
    ended = subprocess.run([sys.executable, "-c", CALL_ALL], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("kind", [MultiServer, SingleServer])
def test_a_second_init_is_refused_and_the_server_stays(kind):
    with kind(("127.0.0.1", 0)) as server:
        address, before = server.address, open_descriptors()
        with pytest.raises(RuntimeError, match="has run already"):
            server.__init__(("127.0.0.1", 0))
        assert (server.address, open_descriptors()) == (address, before)


@pytest.mark.parametrize("name", ["heartbeat", "idle_timeout", "slow_grace", "linger"])
@pytest.mark.parametrize("seconds", [1e-300, 5e-324, 9e-10])
def test_less_than_a_nanosecond_is_no_time(name, seconds):
    """It would be 0 in the engine, which means something else: none, or at once."""
    with pytest.raises(ValueError, match=f"{name} must be 0 or at least 1e-9"):
        MultiServer(("127.0.0.1", 0), **{name: seconds})
