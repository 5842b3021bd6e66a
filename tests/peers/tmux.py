"""Terminals side by side in tmux, with a shell in each: type into them, wait for what they show."""

import shlex
import shutil
import subprocess
import time
from pathlib import Path

from peers.process import CHAT, ROOT, WAIT

LINES = 24
COLUMNS = 80
INTERVAL = 0.05


class Tmux:
    """A tmux server of its own, with its socket in directory; ``fastsock-chat`` is a command."""

    def __init__(self, directory: Path) -> None:
        if not shutil.which("tmux"):
            raise FileNotFoundError("tmux is missing: apt-get install tmux")
        self._socket = str(directory / "tmux")
        self._opened: list[str] = []

    def _tmux(self, *arguments: str) -> str:
        command = ("tmux", "-S", self._socket, "-f", "/dev/null", *arguments)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=WAIT)
        return done.stdout

    def open(self, terminal: str) -> None:
        """Opens a terminal of that name with a shell."""
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        shell = ("env", "PS1=$ ", f"PYTHONPATH={ROOT}", "LANG=C.UTF-8", "sh")
        self._tmux("new-session", "-d", "-s", terminal, *size, *shell)
        self._opened.append(terminal)
        self.type(terminal, f"alias fastsock-chat={shlex.quote(shlex.join(CHAT))}")
        self.type(terminal, "clear; echo ready")
        self.expect(terminal, "\nready")
        self.type(terminal, "clear")

    def type(self, terminal: str, line: str) -> None:
        """Types a line and presses Enter."""
        self._tmux("send-keys", "-t", terminal, "-l", line)
        self._tmux("send-keys", "-t", terminal, "Enter")

    def press(self, terminal: str, key: str) -> None:
        """Presses one key, by its name in tmux: C-z."""
        self._tmux("send-keys", "-t", terminal, key)

    def screen(self, terminal: str) -> str:
        """What the terminal shows, and what has been scrolled out of it."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", terminal)

    def expect(self, terminal: str, text: str) -> str:
        """Waits until the terminal shows the text; returns its screen."""
        deadline = time.monotonic() + WAIT
        while text not in (screen := "\n" + self.screen(terminal)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{terminal} does not show {text!r}:\n{screen}")
            time.sleep(INTERVAL)
        return screen

    def expect_shell(self, terminal: str) -> None:
        """Waits until the program has ended and the shell prompts again."""
        deadline = time.monotonic() + WAIT
        while not self.screen(terminal).rstrip().endswith("\n$"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{terminal} still runs:\n{self.screen(terminal)}")
            time.sleep(INTERVAL)

    def close(self) -> None:
        if self._opened:
            self._tmux("kill-server")
