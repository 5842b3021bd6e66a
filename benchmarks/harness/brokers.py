"""Servers of other projects, started on a free port of 127.0.0.1 and ended by process id."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from benchmarks.harness.errors import BenchmarkError, Unavailable
from benchmarks.harness.wire import NATS, RESP

START_S = 10.0
END_S = 10.0


def redis_command(port: int) -> list[str]:
    """Without persistence; all else as it comes."""
    keep = ["--save", "", "--appendonly", "no"]
    return [_found("redis-server"), "--port", str(port), "--bind", "127.0.0.1", *keep]


def nats_command(port: int) -> list[str]:
    """Core NATS, which keeps nothing; all else as it comes."""
    return [_found("nats-server"), "--addr", "127.0.0.1", "--port", str(port)]


COMMANDS = {"redis": redis_command, "nats": nats_command}
PROTOCOLS = {"redis": RESP, "nats": NATS}


@contextmanager
def started(broker: str) -> Iterator[tuple[int, int]]:
    """Start a broker by its name, and yield its port and process id; see ``running``."""
    port = free_port()
    with running(COMMANDS[broker](port), port) as pid:
        yield port, pid


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """Starts a server on the cores of this process, and yields its process id once it accepts.

    It ends with the block, and with this process however that ends. BenchmarkError if it does not
    come up.
    """
    orphaned = ["setpriv", "--pdeathsig", "KILL"]  # prctl(2), PR_SET_PDEATHSIG
    quiet = subprocess.DEVNULL
    with subprocess.Popen([*orphaned, *command], stdin=quiet, stdout=quiet, stderr=quiet) as broker:
        try:
            _await_accepting(broker, port)
            yield broker.pid
        finally:
            broker.terminate()
            try:
                broker.wait(END_S)
            except subprocess.TimeoutExpired:
                broker.kill()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened at a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def program(name: str) -> str | None:
    """Where a program of PATH or of this Python's environment is."""
    own = Path(sys.executable).parent
    return shutil.which(name, path=f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


def _found(name: str) -> str:
    path = program(name)
    if path is None:
        raise Unavailable(f"no program {name}")
    return path


def _await_accepting(broker: subprocess.Popen[bytes], port: int) -> None:
    deadline = monotonic() + START_S
    while monotonic() < deadline and broker.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), START_S).close()
            return
        except ConnectionRefusedError:
            sleep(0.01)
    raise BenchmarkError(f"{broker.args!r} does not accept connections at port {port}")
