"""Programs in processes of their own, and what the RPC tests look at from outside."""

import os
import sys
from pathlib import Path

from conftest import wait_until
from peers.process import Process

from fastsock import rpc


class Server(Process):
    """A program of this directory in its own process; it prints its port when it is ready."""

    def __init__(self, name: str, *arguments: str, descriptors: int | None = None) -> None:
        here = Path(__file__).parent
        path = f"{here}:{here.parent}:{here.parents[1]}"
        env = os.environ | {"PYTHONPATH": path}
        limited = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}"]
        command = [*limited, sys.executable, str(here / name), *arguments]
        super().__init__(*command, env=env, stderr=None)
        self.port = self.expect("\n")


def resident_bytes(pid: int | str = "self") -> int:
    """How much memory a process has in use."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_running(server: rpc.Server, count: int) -> None:
    """Until so many calls run at the server, or wait for a thread there."""
    wait_until(lambda: server.health()["running"] == count, f"{count} calls run")


def wait_begun(server: rpc.Server, *names: str) -> None:
    """Until these methods of the server's Shop run, in any order."""
    wait_until(lambda: sorted(server.service.begun) == sorted(names), f"{names} have begun")
