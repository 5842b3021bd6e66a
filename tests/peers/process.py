"""Runs a program, types to it, and waits, with a bound, for what it says."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
from conftest import WAIT

import fastsock

PYTHON = (sys.executable, "-P", "-W", "error")
CHAT = (*PYTHON, "-m", "fastsock.chat")
ROOT = str(Path(fastsock.__file__).parents[1])


def shell_status(status: int) -> int:
    """The exit status of a child as a shell shows it."""
    return status if status >= 0 else 128 - status


class Process:
    """One program with pipes, or with other descriptors instead of them."""

    def __init__(self, *command: str, **options: object) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**os.environ, "PYTHONPATH": ROOT}
        self.child = subprocess.Popen(command, **{**pipes, "env": env, **options})
        self.said = {"stdout": b"", "stderr": b""}
        self._seen = {"stdout": 0, "stderr": 0}
        self._selector = selectors.DefaultSelector()
        for name in self.said:
            if (stream := getattr(self.child, name)) is not None:
                self._selector.register(stream, selectors.EVENT_READ, name)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def out(self) -> str:
        return self.said["stdout"].decode()

    @property
    def err(self) -> str:
        return self.said["stderr"].decode()

    def type(self, text: str | bytes) -> None:
        """Writes to its stdin."""
        self.child.stdin.write(text.encode() if isinstance(text, str) else text)
        self.child.stdin.flush()

    def close_stdin(self) -> None:
        self.child.stdin.close()

    def expect(self, text: str, stream: str = "stdout") -> str:
        """Waits for the text behind what was expected before; returns the line it is in."""
        wanted = text.encode()
        deadline = time.monotonic() + WAIT
        while (found := self.said[stream].find(wanted, self._seen[stream])) < 0:
            if not self._read(deadline):
                pytest.fail(f"no {text!r} on {stream}; stdout {self.out!r}, stderr {self.err!r}")
        self._seen[stream] = found + len(wanted)
        while b"\n" not in self.said[stream][found:] and self._read(deadline):
            continue
        begin = self.said[stream].rfind(b"\n", 0, found) + 1
        return self.said[stream][begin:].split(b"\n")[0].decode()

    def expect_anywhere(self, text: str) -> None:
        """Waits for the text on stdout, also before what was expected before."""
        if text not in self.out:
            self.expect(text)

    def _read(self, deadline: float) -> bool:
        """Takes what it says next; False at its end or that of the time."""
        left = deadline - time.monotonic()
        if not self._selector.get_map() or left <= 0:
            return False
        for key, _ in self._selector.select(left):
            data = os.read(key.fd, 1 << 16)
            self.said[key.data] += data
            if not data:
                self._selector.unregister(key.fileobj)
        return True

    def wait(self) -> int:
        """Reads to the end of what it says; returns its exit status, as a shell shows it."""
        deadline = time.monotonic() + WAIT
        while self._read(deadline):
            continue
        try:
            status = self.child.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            pytest.fail(f"still runs; stdout {self.out!r}, stderr {self.err!r}")
        return shell_status(status)

    def close_stdout(self) -> None:
        """Stops reading what it says, as a pipe's reader that has gone."""
        self._selector.unregister(self.child.stdout)
        self.child.stdout.close()

    def interrupt(self, signum: signal.Signals) -> None:
        self.child.send_signal(signum)

    def stop(self) -> None:
        """Send SIGSTOP; return when none of its threads runs any more."""
        self.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Send SIGCONT, after ``stop``."""
        self.child.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it; return when it has gone."""
        self.child.kill()
        self._selector.close()
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # it has ended before it read what was typed
        self.child.wait()


class Programs:
    """Starts programs and ends them with the test."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def start(self, *command: str, **options: object) -> Process:
        process = Process(*command, **options)
        self._started.append(process)
        return process

    def chat(self, *arguments: str, **options: object) -> Process:
        """fastsock-chat with these arguments."""
        return self.start(*CHAT, *arguments, **options)

    def python(self, *arguments: str, **options: object) -> Process:
        """This Python, with the package that is tested."""
        return self.start(*PYTHON, *arguments, **options)

    def server(self, *arguments: str, **options: object) -> tuple[Process, str]:
        """A server on a free port of 127.0.0.1, and its port."""
        server = self.chat("server", *arguments, **options)
        return server, server.expect("listening on 127.0.0.1:").rpartition(":")[2]

    def nc(self, port: str, *options: str) -> Process:
        """netcat as a client."""
        if not shutil.which("nc"):
            pytest.fail("nc is missing: apt-get install netcat-openbsd")
        return self.start("nc", *options, "127.0.0.1", port)

    def close(self) -> None:
        for process in reversed(self._started):
            process.close()
