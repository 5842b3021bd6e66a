"""Gives every argument and option of a command line values that nobody means.

Arguments: chat or rpc, the address of an RPC server, and "bytes" for those values alone that are no
UTF-8. The commands are found through click.
Prints how many runs there were, and each that ended otherwise than it should: with one line and
status 1 or 2, or with status 0; or by SIGTERM, since it has taken the value and serves.
"""

import gc
import importlib
import os
import pkgutil
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import click

from fastsock import _scripts

VALUES = (b"\xff\xfe", "☃é".encode(), b"", b"x" * 10240, b"\x1b[31m\xed\xa0\x80")
NUMBERS = (b"1180591620717411303424", b"-1180591620717411303424", b"1e999", b"nan")
SERVES_SECONDS = 1.5
"""A run that has not ended by then has taken the value and serves: it is ended."""
CHILDREN_MAX = 8
STOPPED = 128 + signal.SIGTERM
TOLD = re.compile(r"fastsock-(chat|rpc)[^\n]*\n|")


def commands(command, *path):
    """A command line's commands, with their names."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)
    yield path, command


def is_text(value):
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def lines(cli, good, values):
    """Command lines, each with one value that nobody means, or an option or argument too many."""
    for path, command in commands(cli):
        options = [each for each in command.params if isinstance(each, click.Option)]
        needed = [each for each in command.params if isinstance(each, click.Argument)]
        given = [good.get(each.name, b"x") for each in needed]
        names = [name.encode() for name in path]
        for value in values:
            for option in options:
                numeric = isinstance(option.type, click.types.FloatRange | click.types.IntRange)
                if not option.is_flag and (numeric or value in VALUES):
                    yield [*names, option.opts[-1].encode(), value, b"--", *given]
            for at, _ in enumerate(needed):
                yield [*names, b"--", *given[:at], value, *given[at + 1 :]]
        yield [*names, b"--\xff\xfe"]
        yield [*names, b"--", *given, b"\xff\xfe"]


def full():
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


class Run:
    """A fork that runs one command line, without input. ``stdout()`` gives it a descriptor to print
    to that takes nothing."""

    def __init__(self, entry, program, words, place, stdout=None):
        self.words, self.stdout = words, stdout
        self.out, self.err = place / "out", place / "err"
        self.until = monotonic() + SERVES_SECONDS
        self.pid = os.fork()
        if self.pid == 0:
            os.chdir(place)
            for fd, path in ((0, os.devnull), (1, self.out), (2, self.err)):
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(path, flags, 0o600), fd)
            if stdout:
                os.dup2(stdout(), 1)
            sys.argv = [program, *map(os.fsdecode, words)]
            entry()
            sys.exit(99)

    def fault(self, status):
        """What was wrong; None if nothing was."""
        code = os.waitstatus_to_exitcode(status)
        told = self.err.read_bytes().decode(errors="backslashreplace")
        # On a busy machine one that has told its failure may be ended before it ends.
        if code in (1, 2) or (code == -signal.SIGTERM and told):
            return None if TOLD.fullmatch(told) and told else f"status {code}, {told!r:.3000}"
        if (
            self.stdout is None
            and code in (0, STOPPED, -signal.SIGTERM)
            and "Traceback" not in told
            and "Exception" not in told
        ):
            return None
        return f"status {code}, {told!r:.3000}"


def main(kind, address, only=None):
    entry = getattr(_scripts, kind)
    program = f"fastsock-{kind}"
    module = "fastsock.chat.commands" if kind == "chat" else "fastsock.rpc.cli.commands"
    package = importlib.import_module(module.rpartition(".")[0])
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "__main__" not in each.name:
            importlib.import_module(each.name)
    gc.freeze()
    cli = importlib.import_module(module).cli
    good = {"address": address.encode(), "method": b"double", "arguments": b"[2.0]"}
    good |= {"host": b"127.0.0.1", "port": b"1", "path": b"fifo"}
    count, running = 0, {}
    top = Path(tempfile.mkdtemp())  # The forks must not remove it, as a context manager would.

    def reap():
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            for run in running.values():
                if monotonic() > run.until:
                    os.kill(run.pid, signal.SIGTERM)
                    run.until += SERVES_SECONDS
            sleep(0.002)
            return
        run = running.pop(pid)
        if wrong := run.fault(status):
            print(ascii(run.words), ascii(wrong), flush=True)

    helps = [[*map(str.encode, path), b"--help"] for path, _ in commands(cli)]
    into = [(words, stdout) for words in helps for stdout in (full, closed_pipe)]
    values = [each for each in (*VALUES, *NUMBERS) if only != "bytes" or not is_text(each)]
    for words, stdout in (*((words, None) for words in lines(cli, good, values)), *into):
        place = top / str(count)
        place.mkdir()
        run = Run(entry, program, words, place, stdout)
        running[run.pid] = run
        count += 1
        while len(running) >= CHILDREN_MAX:
            reap()
    while running:
        reap()
    shutil.rmtree(top)
    print("runs", count)


if __name__ == "__main__":
    main(*sys.argv[1:])
