"""Where a conversation is typed and shown: the contract, and the plain form for pipes."""

import errno
import os
import select
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from fastsock._cli import SIGNALS, Stopped, shown
from fastsock.chat.text import TEXT_BYTES_MAX
from fastsock.core.gate import Gate
from fastsock.fifo import Splitter

__all__ = [
    "LINGER",
    "SIGNALS",
    "STDIN",
    "ChatError",
    "NoInput",
    "PlainScreen",
    "Screen",
    "Stopped",
    "in_background",
]

STDIN, STDOUT, STDERR = 0, 1, 2

LINGER = 1.0
"""Seconds that the end of a conversation may take to send and show what is still to be."""
READ_BYTES = 1 << 16
WRITE_BYTES = select.PIPE_BUF
"""What a pipe that poll(2) calls writable takes without blocking."""
BACKGROUND_INTERVAL = 0.5
"""Seconds after which a program in the background looks whether it may read the terminal now."""


class ChatError(Exception):
    """What ends a command with status 1; its text is the line that the user reads."""


class NoInput(ChatError):
    """stdin cannot be read."""


def in_background() -> bool:
    """Whether stdin is a terminal that another job of the shell has now."""
    try:
        return os.tcgetpgrp(STDIN) != os.getpgrp()
    except OSError:  # it is no terminal, or not that of this session
        return False


class Screen(ABC):
    """Shows lines and hands over what is typed.

    Whatever shows may be called from any thread, and so may ``stop``. A screen that cannot show any
    more stops by itself and says why in ``failure``.
    """

    interactive: bool
    """Whether a person types: the end of the input then ends the conversation."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self.failure = ""

    @abstractmethod
    def said(self, text: str, speaker: int | None = None) -> None:
        """Shows what somebody has said, in the colour of speaker where there are colours."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Shows what has happened."""

    @abstractmethod
    def error(self, text: str) -> None:
        """Tells the typist what is wrong with what was typed."""

    @abstractmethod
    def converse(self, on_line: Callable[[bytes], None], commands: Collection[str] = ()) -> None:
        """Calls on_line(text) for each line that is typed, until the input ends or ``stop``.

        commands are the names behind a slash that on_line knows, for a prompt that completes them.
        Raises Stopped when a signal or Ctrl-C asks for the end, and NoInput if stdin cannot be
        read. For the main thread.
        """

    def stop(self, failure: str = "") -> None:
        """Ends ``converse`` and ``wait``, now and later. The first failure is kept."""
        self.failure = self.failure or failure
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def wait(self) -> None:
        """Waits until somebody calls ``stop``."""
        self._stopped.wait()

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds; nothing is typed or shown after it."""


class PlainScreen(Screen):
    """Lines on stdin and stdout, errors on stderr; ``notes`` is the descriptor for notes.

    Each line is written at once. A reader of stdout that does not read holds the conversation up,
    as in any pipe. Text is UTF-8, and in a terminal what the terminal has; the rest is escaped.
    """

    interactive = False

    def __init__(self, notes: int) -> None:
        super().__init__()
        self._notes = notes
        self._gate = Gate()
        self._lock = threading.Lock()
        self._broken: set[int] = set()
        self._encodings = {
            fd: stream.encoding if os.isatty(fd) else "utf-8"
            for fd, stream in ((STDOUT, sys.stdout), (STDERR, sys.stderr))
        }

    def said(self, text: str, speaker: int | None = None) -> None:
        self._write(STDOUT, text)

    def note(self, text: str) -> None:
        self._write(self._notes, shown(text))

    def error(self, text: str) -> None:
        self._write(STDERR, f"fastsock-chat: {shown(text)}")

    def _write(self, fd: int, line: str) -> None:
        data = f"{line}\n".encode(self._encodings[fd], errors="backslashreplace")
        with self._lock:
            if fd in self._broken:
                return
            try:
                while data:
                    self._wait_writable(fd)
                    data = data[_write_some(fd, data[:WRITE_BYTES]) :]
            except OSError as error:
                self._broken.add(fd)
                name = "stdout" if fd == STDOUT else "stderr"
                self.stop(f"cannot write to {name}: {error.strerror}")

    def _wait_writable(self, fd: int) -> None:
        """Waits as long as it takes, but once the conversation has stopped, at most LINGER."""
        if self._gate.wait(fd, select.POLLOUT):
            return
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if not poll.poll(LINGER * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")

    def converse(self, on_line: Callable[[bytes], None], commands: Collection[str] = ()) -> None:
        lines = Splitter(TEXT_BYTES_MAX)
        with _not_stopped_in_background():
            while not self.stopped and self._gate.wait(STDIN):
                if (data := self._read()) is None:
                    continue
                for line in lines.feed(data) if data else lines.finish():
                    if self.stopped:
                        return
                    on_line(line)
                if not data:
                    return

    def _read(self) -> bytes | None:
        """What is there to be read; None if it has gone to another program, or is not for this one
        while it is in the background."""
        try:
            return os.read(STDIN, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO or not in_background():
                raise NoInput(f"cannot read stdin: {error.strerror}") from None
        self._stopped.wait(BACKGROUND_INTERVAL)
        return None

    def stop(self, failure: str = "") -> None:
        super().stop(failure)
        self._gate.shut()

    def close(self) -> None:
        self._gate.close()


def _write_some(fd: int, data: bytes) -> int:
    """How many bytes the descriptor has taken. None, say, where another program has made it
    non-blocking and has filled it."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


@contextmanager
def _not_stopped_in_background() -> Iterator[None]:
    """Reading the terminal in the background fails with EIO here. By default it stops the process,
    as soon as somebody types at the shell."""
    before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTIN, before)
