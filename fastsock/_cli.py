"""What the command lines of this package share: how they begin, how they end, what they show."""

import importlib.util
import io
import os
import re
import select
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from fastsock._extras import how_to_install

if TYPE_CHECKING:
    import click
    from typing_extensions import Buffer

__all__ = ["SIGNALS", "UNSAFE", "Stopped", "need", "run", "shown"]

STDOUT, STDERR = 1, 2

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the program in an orderly way."""

# Characters that steer a terminal or reorder what it shows: all of Cc but the tab, the marks and
# overrides of bidirectional text, and the separators that some terminals take for a newline.
UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Stopped(BaseException):
    """A signal asks the program to end. No Exception, so that nothing takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.status = 128 + signum


def need(program: str, extra: str, packages: tuple[str, ...]) -> None:
    """Ends the process with a line that says how to get the packages, if one is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(f"{program}: {names} missing: {how_to_install(extra)}", file=sys.stderr)
        sys.exit(1)


def run(program: str, cli: "click.Group", failures: tuple[type[Exception], ...]) -> int:
    """Runs a command line; returns the exit status: 2 for wrong usage, 1 for OSError and the
    ``failures``, whose texts are one line on stderr. stdout is flushed, and its failure told."""
    _open_streams()
    for signum in SIGNALS:
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup(1) leaves it
            signal.signal(signum, _stop)
    try:
        try:
            return _main(program, cli, failures)
        finally:
            _end_at_signals()
    except Stopped as stopped:  # A signal that came before that was done is taken here, too.
        _end_at_signals()
        return stopped.status
    finally:
        _drop_unwritten()


def _end_at_signals() -> None:
    """From here on a signal ends the process without a traceback."""
    for signum in SIGNALS:
        if signal.getsignal(signum) == _stop:
            signal.signal(signum, signal.SIG_DFL)


def _main(program: str, cli: "click.Group", failures: tuple[type[Exception], ...]) -> int:
    import click

    try:
        status = cli.main(prog_name=program, standalone_mode=False) or 0
        sys.stdout.flush()
        return status
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else program
        return _fail(program, f"{error.format_message()} ({command} --help says more)", 2)
    except failures as error:
        return _fail(program, str(error), 1)
    except OSError as error:
        return _fail(program, error.strerror or str(error), 1)


def shown(text: str) -> str:
    """The text with whatever could control the terminal as its escape, as in ``\\x1b``."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _fail(program: str, message: str, status: int) -> int:
    with suppress(OSError):  # If nobody can be told, the status still says it.
        print(f"{program}: {shown(' '.join(message.split()))}", file=sys.stderr)
    return status


def _stop(signum: int, frame: FrameType | None) -> None:
    raise Stopped(signum)


class _Output(io.FileIO):
    """A descriptor to write to. Waits where another program has made it non-blocking."""

    def write(self, data: "Buffer") -> int:
        try:
            while (size := super().write(data)) is None:
                poll = select.poll()
                poll.register(self, select.POLLOUT)
                poll.poll()
        except BrokenPipeError as error:
            # Without an errno: click and rich end the process without a word at EPIPE.
            raise OSError(error.strerror) from None
        return size


def _open_streams() -> None:
    """Makes stdout and stderr what ``_stream`` says. Whatever of 0, 1 and 2 is closed becomes
    /dev/null, or a socket would get its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        continue
    os.close(fd)
    sys.stdout = _stream(STDOUT, sys.stdout)
    sys.stderr = _stream(STDERR, sys.stderr)


def _stream(fd: int, former: TextIO | None) -> io.TextIOWrapper:
    """A text stream that escapes what its encoding does not have."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(fd, "w", closefd=False)),
        encoding=(former and former.encoding) or "utf-8",
        errors="backslashreplace",
        line_buffering=fd == STDERR or os.isatty(fd),
    )


def _drop_unwritten() -> None:
    """What a descriptor has refused goes to /dev/null, or the interpreter would try again at its
    end, and say so in lines of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
