"""What every command line does with the descriptors it is given, and with its arguments."""

import os
import re
from pathlib import Path

import pytest
import rpc_store
from peers.process import CHAT, PYTHON, ROOT

from fastsock import rpc

pytest_plugins = ["peers.fixtures"]

RPC = (*PYTHON, "-m", "fastsock.rpc")
SHORT_DEMO = (*PYTHON, str(Path(__file__).with_name("peers") / "short_demo.py"))
PRINTS = [
    *((CHAT, *rest) for rest in (("port",), ("interfaces",), ("--help",), ("input", "--help"))),
    (SHORT_DEMO, "demo", "--clients", "2", "--messages", "3"),
    *((RPC, *rest) for rest in (("--help",), ("list", "--help"))),
]
ASKS = [("describe",), ("describe", "--json"), ("stub",), ("ping", "-c", "1"), ("call", "double")]
ids = {"ids": lambda command: " ".join(map(str, command[1:]))}


@pytest.fixture
def where():
    with rpc.serve(rpc_store.Store(), linger=0.2) as server:
        yield "{}:{}".format(*server.address)


@pytest.fixture
def env():
    """The environment without PYTHONUNBUFFERED, which hides that nobody flushes stdout."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return {**env, "PYTHONPATH": ROOT}


def asking(where, command, *rest):
    return *RPC, command, where, *rest


def failed(process, status=1, told=""):
    """The process ends with the status and one line."""
    assert (process.wait(), process.err.count("\n")) == (status, 1), process.err
    assert told in process.err
    assert process.err.startswith(("fastsock-chat: ", "fastsock-rpc: "))


# ---- stdout ----


@pytest.mark.parametrize("command", PRINTS, **ids)
def test_a_full_disk_is_one_line(programs, env, command):
    with open("/dev/full", "wb") as full:
        process = programs.start(*command[0], *command[1:], stdout=full, env=env)
        failed(process, told="No space left on device")


@pytest.mark.parametrize("command", PRINTS, **ids)
def test_a_closed_pipe_is_one_line(programs, env, command):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        process = programs.start(*command[0], *command[1:], stdout=writer, env=env)
    finally:
        os.close(writer)
    failed(process, told="Broken pipe")


@pytest.mark.parametrize("command", ASKS, ids=" ".join)
def test_answers_that_cannot_be_printed_are_one_line(programs, env, where, command):
    values = ["[2.0]"] if command == ("call", "double") else []
    with open("/dev/full", "wb") as full:
        process = programs.start(*asking(where, *command, *values), stdout=full, env=env)
        failed(process, told="No space left on device")


def test_wrong_usage_has_its_status_if_nobody_can_be_told(programs, env):
    with open("/dev/full", "wb") as full:
        assert programs.chat("prot", stderr=full, env=env).wait() == 2


@pytest.mark.parametrize("command", PRINTS, **ids)
def test_descriptors_that_are_closed(programs, command):
    shell = programs.start("sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command[0], *command[1:])
    assert shell.wait() == 0


# ---- Signals ----

ENDING = """
import os, signal, sys
from fastsock import _cli

class Commands:
    \"\"\"A command line that has nothing to do; then a signal comes at a line of run().\"\"\"
    def __init__(self, line):
        self.line = line
    def main(self, **options):
        sys._getframe(2).f_trace = self.trace
        sys.settrace(lambda *_: None)
    def trace(self, frame, event, argument):
        self.line -= 1
        if self.line == 0:
            signal.raise_signal(signal.SIGTERM)
        return self.trace

def status(line):
    child = os.fork()
    if child == 0:
        os._exit(_cli.run("program", Commands(line), ()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

found = []
while not found or found[-1] != 0:
    found.append(status(len(found) + 1))
print(sorted(set(found[:-1])))
"""


def test_a_signal_while_it_ends_leaves_no_traceback(programs):
    process = programs.python("-c", ENDING)
    assert process.wait() == 0
    assert process.err == ""
    assert process.out == "[-15, 143]\n"


@pytest.mark.parametrize("command", [CHAT, RPC], ids=["chat", "rpc"])
def test_version(programs, command):
    process = programs.start(*command, "--version")
    assert process.wait() == 0
    assert re.search(r"version \d+\.\d+", process.out)
