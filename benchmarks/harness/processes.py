"""The processes of a run, each pinned to a core, and the lines that are exchanged with them."""

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from benchmarks.harness.build import compiled
from benchmarks.harness.errors import BenchmarkError, Unavailable
from benchmarks.harness.wire import Wire

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 30.0
END_TIMEOUT = 10.0
SPARE_DESCRIPTORS = 64
"""What a process needs beside its connections: pipes, epoll, the listener, Python's own."""


def cores() -> tuple[int, int]:
    """The core of the server and the core of the clients; the same one where there is one only."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def where() -> str:
    """In words, which process runs on which core."""
    server, load = cores()
    if server == load:
        return f"only core {server} to use, so server and clients share it"
    return f"server on core {server}, clients on core {load}"


def allow_descriptors(connections: int) -> None:
    """Raises the limit on open files, which the processes inherit, or BenchmarkError."""
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(
            f"{connections} clients need {needed} open files, the limit is {hard}: "
            f"ulimit -n {needed}, or fewer --clients"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Partner:
    """A process that answers each line on its stdin with one line of JSON."""

    def __init__(self, name: str, command: list[str], core: int) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
        )
        self.pid = self._process.pid
        os.sched_setaffinity(self.pid, {core})
        self.helpers: list[int] = []
        """Processes that work for this one, as its first answer told."""
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the process; at once if something went wrong."""
        if error is not None:
            self._process.kill()
        self.end()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def tell(self, command: str) -> None:
        """Sends a command; the answer is to be fetched."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise self._ended() from None

    def ask(self, command: str, timeout: float = START_TIMEOUT) -> dict[str, Any]:
        """Sends a command and returns the answer."""
        self.tell(command)
        return self.answer(timeout)

    def answer(self, timeout: float = START_TIMEOUT) -> dict[str, Any]:
        """The next line that the process prints; BenchmarkError if it ends or stays silent."""
        assert self._process.stdout is not None
        readable = select.poll()
        readable.register(self._process.stdout, select.POLLIN)
        deadline = monotonic() + timeout
        while b"\n" not in self._received:
            if not readable.poll(max(0.0, deadline - monotonic()) * 1000):
                raise BenchmarkError(f"{self.name} gave no answer within {timeout:g} s")
            received = os.read(self._process.stdout.fileno(), 65536)
            if not received:
                raise self._ended()
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def hello(self, install: str) -> dict[str, Any]:
        """The first answer of a server; Unavailable, with how to get it, if it misses something."""
        hello = self.answer()
        if "missing" in hello:
            raise Unavailable(f"not installed: {install}")
        self.helpers = hello.get("helpers", [])
        return hello

    def port(self, install: str) -> int:
        """Where a server listens, from its first answer; Unavailable as above."""
        port: int = self.hello(install)["port"]
        return port

    def cpu_s(self) -> float:
        """The user and system time of the process and its helpers until now."""
        # clock_getcpuclockid(3) makes the clock of a process from its id in this way.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in [self.pid, *self.helpers])

    def end(self) -> None:
        """Closes stdin, which ends the process; it still reads and sends what is on its way."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _ended(self) -> BenchmarkError:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line for line in lines if line.strip()]
        return BenchmarkError(f"{self.name} ended: {said[-1] if said else 'without a word'}")


def start_server(scenario: str, peer: str, *options: str) -> Partner:
    """A fresh process for the server of a scenario's peer (server.py), on the server's core."""
    command = [sys.executable, "-m", "benchmarks.ends.server", scenario, peer, *options]
    return Partner(f"{peer} server", command, cores()[0])


def start_load(program: str, *arguments: object) -> Partner:
    """A fresh process for a C program of csrc/ that makes the load, on the clients' core."""
    return Partner(program, [str(compiled(program)), *map(str, arguments)], cores()[1])


def start_speaker(port: int, protocol: str, size: int) -> Partner:
    """A fresh process for who publishes over TCP (speaker.py), on the clients' core."""
    command = [sys.executable, "-m", "benchmarks.ends.speaker", str(port), protocol, str(size)]
    return Partner("speaker", command, cores()[1])


def start_sink(port: int, clients: int, size: int, wire: Wire, *, check: bool) -> Partner:
    """A fresh process for all clients (csrc/sink.c)."""
    mode = "check" if check else "discard"
    return start_load("sink", port, clients, size, mode, *wire.arguments())
