"""Names that are looked up within a limit, while the name server is silent (tests/c/silent.c)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WAIT

TESTS = Path(__file__).parents[1]

BEGIN = """
import asyncio, os, socket, threading, time
from fastsock import Client, MultiServer, rpc
from fastsock.core.lookup import LOOK_UPS_MAX

LIMIT = 0.1

class Service(rpc.Service):
    @rpc.method(idempotent=True)
    def one(self) -> int: return 1

def refused(call, *texts, most=1.5, kind=OSError):
    begun = time.monotonic()
    try:
        call()
    except kind as error:
        assert all(text in str(error) for text in texts), error
    else:
        raise AssertionError("it found something")
    assert time.monotonic() - begun < most, time.monotonic() - begun

def looking():
    return sum(each.name == "fastsock look-up" for each in threading.enumerate())
"""


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """Runs a program for which names that end in .silent are never found."""
    library = tmp_path_factory.mktemp("silent") / "silent.so"
    compiler = os.environ.get("CC", "cc")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run([compiler, *flags, TESTS / "c" / "silent.c", "-o", library], check=True)

    def run(program):
        preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
        environment = {**os.environ, "LD_PRELOAD": preload}
        command = [sys.executable, "-c", BEGIN + program]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=2 * WAIT
        )
        assert (done.returncode, done.stderr) == (0, "")

    return run


def test_a_client_gives_up_in_time(silent):
    silent("""
address = ("db.silent", 9000)
told = "cannot connect to db.silent:9000", "the look-up of 'db.silent' has not ended after 0.1 s"
refused(lambda: Client.connect(address, timeout=LIMIT), *told, kind=TimeoutError)
refused(lambda: Client.connect(address, timeout=0), "db.silent", kind=TimeoutError)
refused(lambda: Client.connect(address, retry=LIMIT), *told)
refused(lambda: Client.connect(address, timeout=LIMIT, retry=0.3), *told)
assert looking() == 1, "one thread for one name"
with MultiServer(("127.0.0.1", 0)) as server:
    server.start()
    for host in "127.0.0.1", "localhost":
        Client.connect((host, server.address[1]), timeout=10).close()
until = time.monotonic() + 10
while looking() != 1:  # The thread that found localhost may still be ending.
    assert time.monotonic() < until
    time.sleep(0.001)
""")


def test_a_stub_gives_up_in_time(silent):
    silent("""
address = ("db.silent", 9000)
refused(lambda: rpc.connect(Service, address, connect_timeout=LIMIT),
        "the look-up of 'db.silent' has not ended", kind=(rpc.Unavailable, TimeoutError))
""")


def test_more_silent_names_than_threads(silent):
    silent("""
for number in range(LOOK_UPS_MAX):
    refused(lambda: Client.connect((f"{number}.silent", 9000), timeout=0.001))
assert looking() == LOOK_UPS_MAX
refused(lambda: Client.connect(("more.silent", 9000), timeout=LIMIT),
        "'more.silent' was not looked up within 0.1 s", f"{LOOK_UPS_MAX} look-ups of other names")
assert looking() == LOOK_UPS_MAX
with MultiServer(("127.0.0.1", 0)) as server:
    server.start()
    Client.connect(server.address, timeout=10).close()
child = os.fork()
if not child:  # It has none of the threads.
    refused(lambda: Client.connect(("0.silent", 9000), timeout=LIMIT), "has not ended")
    os._exit(looking() != 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""")


def test_a_limit_is_for_all_addresses_of_a_name(silent):
    """The first of two does not answer: the second one has its share of the time."""
    silent("""
with socket.socket() as mute, socket.create_server(("127.0.0.1", 0)) as good:
    port = good.getsockname()[1]
    mute.bind(("127.0.0.2", port))
    mute.listen(0)
    with socket.create_connection(("127.0.0.2", port)):  # Now its backlog is full.
        begun = time.monotonic()
        with Client.connect(("pair", port), timeout=1.0, linger=0) as client:
            assert client.peer == ("127.0.0.1", port)
        assert 0.3 < time.monotonic() - begun < 1.0
        good.close()
        refused(lambda: Client.connect(("pair", port), timeout=0.2), "cannot connect to pair")
""")


def test_what_a_matchmaker_tries_is_looked_up_beside_everything_else(silent):
    """Silent names take no thread from asyncio, or from the trial of another server."""
    silent("""
from fastsock.rpc.matchmaker.registry import Instance, Location
import fastsock.rpc.matchmaker.trial as trial

trial.TRIAL_SECONDS = 0.5

async def main(server):
    trials = trial.Trials()
    def instance(*addresses):
        places = [Location(host, port, "") for host, port in addresses]
        name = server.interface.name
        return Instance(name, server.interface.version, server.incarnation.hex(), places)
    silent = [trials.usable(instance((f"{n}.silent", 1))) for n in range(LOOK_UPS_MAX - 1)]
    waiting = asyncio.gather(*silent)
    good = await trials.usable(instance(("localhost", server.address[1]), server.address))
    assert len(good) == 2, good
    assert await waiting == [[]] * (LOOK_UPS_MAX - 1)

with rpc.serve(Service(), linger=0.2) as server:
    asyncio.run(main(server))
assert not any(each.name.startswith("asyncio") for each in threading.enumerate())
""")
