"""What the command lines of this package share: how they begin, how they end, what they show."""

import importlib.util
import os
import re
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["SIGNALS", "UNSAFE", "Stopped", "need", "run", "shown"]

STDERR = 2

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
        print(f"{program}: {names} missing: pip install 'fastsock[{extra}]'", file=sys.stderr)
        sys.exit(1)


def run(program: str, cli: "click.Group", failures: tuple[type[Exception], ...]) -> int:
    """Runs a command line; returns the exit status: 2 for wrong usage, 1 for OSError and the
    ``failures``, whose texts are one line on stderr."""
    import click

    _fill_standard_descriptors()
    for signum in SIGNALS:
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup(1) leaves it
            signal.signal(signum, _stop)
    try:
        return cli.main(prog_name=program, standalone_mode=False) or 0
    except Stopped as stopped:
        return stopped.status
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
    print(f"{program}: {shown(' '.join(message.split()))}", file=sys.stderr)
    return status


def _stop(signum: int, frame: FrameType | None) -> None:
    raise Stopped(signum)


def _fill_standard_descriptors() -> None:
    """Whatever of 0, 1 and 2 is closed becomes /dev/null, lest a socket gets its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        continue
    os.close(fd)
