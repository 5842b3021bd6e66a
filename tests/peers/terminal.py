"""Runs fastsock-chat in a terminal of its own: a pty that this side reads and types into."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType

import pytest
from peers.process import CHAT, ROOT, WAIT, shell_status

ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[=>78])")
FORWARD = re.compile(rb"\x1b\[(\d*)C")  # how a blank is drawn where there is one already
ESCAPE_BYTES_MAX = 32
INTERVAL = 0.05


def _begin(ignores: Collection[signal.Signals]) -> None:
    """In the child: its stdin becomes its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for signum in ignores:
        signal.signal(signum, signal.SIG_IGN)


class Terminal:
    """A terminal of 80 by 24, and the program that runs in it; it ``ignores`` those signals, as
    nohup(1) would have it. Another program may have made the terminal non-blocking."""

    def __init__(
        self,
        *arguments: str,
        ignores: Collection[signal.Signals] = (),
        env: Mapping[str, str] = MappingProxyType({}),
        blocking: bool = True,
    ) -> None:
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._slave, blocking)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self._modes = termios.tcgetattr(self._slave)
        self.raw = b""
        """All that was drawn, and the sequences that draw it."""
        self.text = b""
        """All that was drawn, without them."""
        self._kept = b""
        self._seen = 0
        self.child = subprocess.Popen(
            (*CHAT, *arguments),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=lambda: _begin(ignores),
            env={
                **os.environ,
                "PYTHONPATH": ROOT,
                "TERM": "xterm-256color",
                "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here tells where the cursor is
                **env,
            },
        )

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Waits until text is drawn, behind what was expected before."""
        wanted = text.encode()
        deadline = time.monotonic() + WAIT
        while (found := self.text.find(wanted, self._seen)) < 0:
            if time.monotonic() > deadline:
                pytest.fail(f"{text!r} is not drawn: {self.text[-2000:].decode()!r}")
            self._read()
        self._seen = found + len(wanted)

    def wait(self) -> int:
        """Its exit status, as a shell shows it; the terminal must be as it was before."""
        deadline = time.monotonic() + WAIT
        while self.child.poll() is None:
            if time.monotonic() > deadline:
                pytest.fail(f"still runs: {self.text[-2000:].decode()!r}")
            self._read()
        self._read()
        assert termios.tcgetattr(self._slave) == self._modes
        return shell_status(self.child.returncode)

    def _read(self) -> None:
        """Takes what is drawn within the next moment."""
        if not select.select([self._master], [], [], INTERVAL)[0]:
            return
        data = os.read(self._master, 1 << 16)
        self.raw += data
        spaced = FORWARD.sub(lambda found: b" " * int(found[1] or 1), self._kept + data)
        drawn = ESCAPE.sub(b"", spaced)
        unfinished = drawn.rfind(b"\x1b", -ESCAPE_BYTES_MAX)
        if unfinished < 0:
            unfinished = len(drawn)
        self.text += drawn[:unfinished]
        self._kept = drawn[unfinished:]

    def hang_up(self) -> None:
        """Closes the terminal under the program."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        if self._master >= 0:
            self.hang_up()
