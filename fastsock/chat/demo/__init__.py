"""The demonstration: real text to many real clients, checked byte for byte, by three servers.

Each server runs in a process of its own, and so do the clients. The time is from the moment the
server begins to publish to the last byte at the last client.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import fastsock
from fastsock.chat.demo.servers import SERVERS, lines_of
from fastsock.chat.screen import SIGNALS, ChatError

__all__ = [
    "INPUT_BYTES_MAX",
    "SHORT_RUNS",
    "SHORT_SECONDS",
    "Result",
    "Work",
    "check",
    "compare",
    "measure",
    "read_text",
    "repeated",
]

INPUT_BYTES_MAX = 1 << 26
MESSAGE_BYTES_MAX = 1 << 16
STDIN = 0
MESSAGES_DEFAULT = 6000
"""With 100 clients, what takes asyncio a few seconds."""
SPARE_DESCRIPTORS = 64
SHORT_SECONDS = 0.5
SHORT_RUNS = 5
PYTHON = (sys.executable, "-P", "-m")
"""Runs a module of the package that runs here, whatever the current directory holds."""


@dataclass(frozen=True, slots=True)
class Work:
    """What each server has to do: the text, and to how many clients."""

    text: bytes
    clients: int

    @property
    def messages(self) -> int:
        return self.text.count(b"\n")

    @property
    def deliveries(self) -> int:
        return self.messages * self.clients


@dataclass(frozen=True, slots=True)
class Result:
    """What one server has done."""

    name: str
    deliveries: int
    seconds: float
    lost: int
    """Deliveries that did not arrive."""
    spoiled: int
    """Clients that did not receive exactly the text."""

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return (self.deliveries - self.lost) / self.seconds


# ---- Input ----


def read_text(path: str | None) -> bytes:
    """The bytes of a file, of stdin for "-", or of the text that comes with the package.

    Raises ChatError for one that is empty or too long, OSError for one that cannot be read.
    """
    name = {"-": "stdin", None: "the packaged text"}.get(path, path)
    try:
        text = _read_at_most(path, INPUT_BYTES_MAX + 1)
    except OSError as error:
        raise ChatError(f"cannot read {name}: {error.strerror}") from None
    if not text:
        raise ChatError(f"{name} is empty: there is nothing to broadcast")
    if len(text) > INPUT_BYTES_MAX:
        raise ChatError(f"{name} is longer than {INPUT_BYTES_MAX} bytes, the most")
    _check_lines(text, str(name))
    return text


def _read_at_most(path: str | None, size: int) -> bytes:
    if path is None:
        return files("fastsock.chat").joinpath("data/sonnets.txt").read_bytes()
    if path == "-":
        with open(STDIN, "rb", closefd=False) as file:
            return file.read(size)
    with Path(path).open("rb") as file:
        return file.read(size)


def _check_lines(text: bytes, name: str) -> None:
    for number, line in enumerate(text.split(b"\n"), 1):
        if len(line) > MESSAGE_BYTES_MAX:
            raise ChatError(
                f"line {number} of {name} is {len(line)} bytes long, a message at most"
                f" {MESSAGE_BYTES_MAX}"
            )


def repeated(text: bytes, messages: int | None) -> bytes:
    """The text again and again, up to that many lines; None: whole, as often as takes seconds."""
    lines = lines_of(text)
    if messages is None:
        return b"".join(lines) * -(-MESSAGES_DEFAULT // len(lines))
    whole, rest = divmod(messages, len(lines))
    return b"".join(lines) * whole + b"".join(lines[:rest])


# ---- One server and its clients ----


def server_command(name: str, clients: int) -> list[str]:
    """How the server of that name is started."""
    return [*PYTHON, "fastsock.chat.demo.servers", name, str(clients)]


def measure(
    name: str, command: Sequence[str], work: Work, on_progress: Callable[[int], object]
) -> Result:
    """Runs the server and its clients; on_progress takes how many deliveries have been made.

    Both processes are gone when it returns or raises. Raises ChatError where one of them fails.
    """
    raise_descriptor_limit(work.clients)
    with _child(command) as server:
        _write_all(server, work.text)
        port = _read_line(server, name)
        command = [*PYTHON, "fastsock.chat.demo.clients", port, str(work.clients)]
        with _child(command) as clients:
            while "clients" not in (report := json.loads(_read_line(clients, "the clients"))):
                on_progress(report["messages"])
        begun = float(_read_line(server, name))
    return _result(name, work, report["ended"] - begun, report["clients"])


def _result(name: str, work: Work, seconds: float, received: list[tuple[int, str]]) -> Result:
    digest = sha256(work.text).hexdigest()
    return Result(
        name=name,
        deliveries=work.deliveries,
        seconds=seconds,
        lost=sum(max(work.messages - messages, 0) for messages, _ in received),
        spoiled=sum(found != digest for _, found in received),
    )


def raise_descriptor_limit(clients: int) -> None:
    """Asks for as many descriptors as the clients take, here and for what is started here."""
    wanted = clients + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise ChatError(
            f"{clients} clients take {wanted} descriptors, this process may open {hard} (ulimit -n)"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _child(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is killed at the end if it has not ended by itself.

    Its process group is its own: Ctrl-C is for this process, which ends the others.
    """
    paths = [str(Path(fastsock.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(":")]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with _uninterrupted():
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                env={**os.environ, "PYTHONPATH": ":".join(filter(None, paths))},
            )
            started.append(child)
        yield child
    finally:
        for child in started:
            with suppress(BrokenPipeError), child:  # it may not have read all of its input
                child.kill()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts signals off to the end of the block: no process is started and then forgotten."""
    late: list[int] = []
    handlers = {
        signum: signal.signal(signum, lambda number, frame: late.append(number))
        for signum in SIGNALS
    }
    try:
        yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
    for caught in late:
        signal.raise_signal(caught)


def _write_all(child: "subprocess.Popen[bytes]", data: bytes) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it has failed, which reading its answer tells
        child.stdin.write(data)
        child.stdin.close()


def _read_line(child: "subprocess.Popen[bytes]", name: str) -> str:
    assert child.stdout is not None and child.stderr is not None
    if line := child.stdout.readline():
        return line.decode()
    said = child.stderr.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
    raise ChatError(f"{name} failed: {said[-1]}")


def compare(work: Work, on_progress: Callable[[str, int], object]) -> list[Result]:
    """Gives the work to each server in turn; a short run is made several times for its median.

    on_progress takes the server and how many deliveries it has made.
    """
    results = []
    for name in SERVERS:
        command = server_command(name, work.clients)
        report = partial(on_progress, name)
        report(0)
        runs = [measure(name, command, work, report)]
        while runs[0].seconds < SHORT_SECONDS and not runs[-1].spoiled and len(runs) < SHORT_RUNS:
            runs.append(measure(name, command, work, report))
        runs.sort(key=lambda run: (run.spoiled, run.seconds))
        results.append(runs[-1] if runs[-1].spoiled else runs[len(runs) // 2])
    return results


def check(work: Work, results: Sequence[Result]) -> None:
    """Raises ChatError unless every client of every server has received exactly the text."""
    for result in results:
        if result.spoiled:
            raise ChatError(
                f"{result.name}: {result.spoiled} of {work.clients} clients did not receive"
                f" exactly what was sent; {result.lost} of {result.deliveries} deliveries lost"
            )
