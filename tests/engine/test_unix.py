"""The files of UNIX sockets: who binds them, who removes them, and who gets them."""

import os
import socket
import subprocess
import sys

import pytest
from calls import Call
from conftest import WAIT

from fastsock import Client, MultiServer, SingleServer

KINDS = pytest.mark.parametrize("kind", [MultiServer, SingleServer])


@KINDS
def test_close_leaves_the_file_of_a_successor(kind, tmp_path):
    path = tmp_path / "socket"
    old = kind(path)
    path.unlink()
    with kind(path):
        old.close()
        assert path.exists()
        Client.connect(path, timeout=WAIT).close()
    assert not path.exists()


@KINDS
def test_close_after_chdir_removes_its_own_file_and_no_other(kind, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    server = kind("./socket")
    (there / "socket").write_text("somebody's own")
    monkeypatch.chdir(there)
    Client.connect(server.address, timeout=WAIT).close()
    server.close()
    assert (there / "socket").exists()
    assert not (here / "socket").exists()


@KINDS
def test_a_path_that_is_too_long_when_absolute_is_bound_as_it_is(kind, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.chdir(deep)
    with kind("./socket") as server:
        assert server.address == "./socket"
        monkeypatch.chdir(tmp_path)
    assert not (deep / "socket").exists()


@KINDS
def test_a_forked_child_removes_no_file(kind, tmp_path):
    path = tmp_path / "socket"
    with kind(path) as server:
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert path.exists()


@KINDS
def test_a_server_that_lives_is_not_called_by_one_that_starts(kind, tmp_path):
    path = tmp_path / "socket"
    with SingleServer(path) as server:
        with pytest.raises(OSError, match="Address already in use"):
            kind(path)
        with pytest.raises(TimeoutError):
            server.accept(timeout=0)


START = """
import sys
from fastsock import MultiServer, SingleServer
kind, path = getattr(sys.modules["__main__"], sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
try:
    server = kind(path)
    print("listens", flush=True)
except OSError as error:
    print(error.strerror, flush=True)
sys.stdin.readline()
"""


@KINDS
def test_of_four_that_start_at_once_over_a_stale_file_one_listens(kind, tmp_path):
    path = tmp_path / "socket"
    for _ in range(3):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        starters = [
            subprocess.Popen(
                [sys.executable, "-c", START, kind.__name__, path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        said = []
        for starter in starters:
            assert starter.stdout.readline() == "ready\n"
        for starter in starters:
            starter.stdin.write("\n")
            starter.stdin.flush()
        for starter in starters:
            said.append(starter.stdout.readline())
        assert sum(line == "listens\n" for line in said) == 1, said
        for starter in starters:
            starter.kill()
            starter.communicate()


@pytest.mark.parametrize("options", [{"timeout": 0.05}, {"retry": 0.05}])
def test_connecting_to_a_full_backlog_waits_for_a_place(tmp_path, options):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        first = Client.connect(path, timeout=WAIT)
        with pytest.raises(TimeoutError, match="cannot connect to .*: not connected after 0.05 s"):
            Client.connect(path, **options)
        second = Call(lambda: Client.connect(path, timeout=WAIT))
        listener.accept()[0].close()
        second.wait_result().close()
        first.close()
