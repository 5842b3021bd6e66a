"""Every command and subcommand, with values that nobody means and outputs that take nothing."""

import os
import subprocess
import sys

import pytest
import rpc_store
from peers import command_sweep
from peers.process import ROOT

from fastsock import rpc

SECONDS_MAX = 170
IN_C = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
IN_UTF_8 = {"LC_ALL": "C.UTF-8"}
KINDS = [
    pytest.param(["chat"], {"PYTHONIOENCODING": "latin-1"}, 100, id="chat in latin-1"),
    pytest.param(["rpc"], IN_C, 100, id="rpc in C"),
    pytest.param(["chat", "bytes"], IN_UTF_8, 40, id="chat in UTF-8, what is none"),
    pytest.param(["rpc", "bytes"], IN_UTF_8, 50, id="rpc in UTF-8, what is none"),
]


@pytest.mark.parametrize(("kind", "settings", "least"), KINDS)
def test_every_command_takes_a_value_or_ends_with_one_line(kind, settings, least):
    env = {**os.environ, "PYTHONPATH": ROOT, **settings}
    with rpc.serve(rpc_store.Store(), linger=0.2) as server:
        where = "{}:{}".format(*server.address)
        command = [sys.executable, "-P", "-W", "error", command_sweep.__file__, kind[0], where]
        command += kind[1:]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=SECONDS_MAX)
    *faults, last = done.stdout.splitlines()
    assert (faults, done.stderr, done.returncode) == ([], "", 0)
    assert int(last.removeprefix("runs ")) >= least
