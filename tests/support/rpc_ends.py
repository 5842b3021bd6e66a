"""Programs in processes of their own, and what the RPC tests look at from outside."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import WAIT, wait_until

from fastsock import rpc


class Process:
    """A program of this directory in a process of its own, which prints a line when it is ready."""

    def __init__(self, *command: str) -> None:
        here = Path(__file__).parent
        environment = os.environ | {"PYTHONPATH": f"{here}:{here.parent}:{here.parents[1]}"}
        arguments = [sys.executable, str(here / command[0]), *command[1:]]
        self.child = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.said = self.child.stdout.readline().strip()
        assert self.said, f"{command} ended before it was ready"

    @property
    def pid(self) -> int:
        return self.child.pid

    def stop(self) -> None:
        """SIGSTOP; returns when none of its threads runs any more."""
        self.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """SIGCONT, after ``stop``."""
        self.child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; returns when it has gone."""
        self.child.kill()
        self.child.wait(WAIT)
        self.child.stdin.close()
        self.child.stdout.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


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
