"""``fastsock-chat demo``: the comparison, its check, and what may go wrong."""

import os
import pty
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import wait_until
from peers.process import CHAT

from fastsock.chat.demo import Work, check, measure, repeated
from fastsock.chat.screen import ChatError

pytest_plugins = ["peers.fixtures"]

PEERS = Path(__file__).parents[1] / "peers"
LOSSY = str(PEERS / "lossy.py")
DEMO_WITH_LOSS = str(PEERS / "demo_with_loss.py")
SHORT_DEMO = str(PEERS / "short_demo.py"), "demo"
TEXT = b"one\ntwo\n\nthree\n"


def rows(out):
    """The figures of each server in the table."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    return {row[0]: row[1:] for row in cells if row and row[0] != "server"}


# ---- What it shows ----


def test_every_server_delivers_the_packaged_text(programs):
    demo = programs.chat("demo", "--clients", "7", "--messages", "1000")
    assert demo.wait() == 0
    assert demo.out.startswith("1,000 lines, ")
    assert " to each of 7 TCP clients" in demo.out
    found = rows(demo.out)
    assert list(found) == ["fastsock", "asyncio", "asyncio, joined by hand"]
    for deliveries, seconds, rate, lost, ratio in found.values():
        assert (deliveries, lost) == ("7,000", "0")
        assert float(seconds) > 0
        assert int(rate.replace(",", "")) > 0
        assert float(ratio) > 0
    assert demo.err == "", "a progress bar where there is no terminal"
    assert max(map(len, demo.out.splitlines())) <= 80


def test_a_progress_bar_on_a_terminal(programs):
    reader, terminal = pty.openpty()
    demo = programs.python(*SHORT_DEMO, "--clients", "2", "--messages", "100", stderr=terminal)
    os.close(terminal)
    drawn = b""
    with suppress(OSError), open(reader, "rb", buffering=0) as shown:  # EIO is the end of a pty
        while part := shown.read(1 << 16):
            drawn += part
    assert demo.wait() == 0
    assert b"fastsock" in drawn
    assert b"%" in drawn


def test_input_from_a_file_and_from_stdin(programs, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"binary \0\xff\r\n\nno newline at the end")
    options = "--clients", "3", "--messages", "5"
    from_file = programs.python(*SHORT_DEMO, *options, "--input", str(path))
    assert from_file.wait() == 0
    assert from_file.out.startswith("5 lines, 46 bytes, ")
    from_stdin = programs.python(*SHORT_DEMO, *options, "--input", "-")
    from_stdin.type(path.read_bytes())
    from_stdin.close_stdin()
    assert from_stdin.wait() == 0
    assert from_stdin.out.startswith("5 lines, 46 bytes, ")


def test_a_text_is_repeated_by_lines():
    assert repeated(b"a\nb", 1) == b"a\n"
    assert repeated(b"a\nb\n", 5) == b"a\nb\na\nb\na\n"
    assert repeated(b"\n", 3) == b"\n\n\n"
    whole = repeated(TEXT, None)
    assert whole == TEXT * 1500, "whole, and 6000 lines or more"


# ---- What may go wrong ----


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"", "{path} is empty: there is nothing to broadcast"),
        (b"x\n" + b"y" * 65537, "line 2 of {path} is 65537 bytes long, a message at most 65536"),
    ],
)
def test_bad_input_is_one_line(programs, tmp_path, content, told):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    demo = programs.chat("demo", "--input", str(path))
    assert demo.wait() == 1
    assert demo.err == f"fastsock-chat: {told.format(path=path)}\n"
    assert demo.out == ""


def test_a_directory_and_an_endless_file_as_input(programs, tmp_path):
    directory = programs.chat("demo", "--input", str(tmp_path))
    assert directory.wait() == 1
    assert directory.err == f"fastsock-chat: cannot read {tmp_path}: Is a directory\n"
    endless = programs.chat("demo", "--input", "/dev/zero")
    assert endless.wait() == 1
    assert endless.err == "fastsock-chat: /dev/zero is longer than 67108864 bytes, the most\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--clients", "0"], "0 is not in the range 1<=x<=10000"),
        (["--messages", "0"], "0 is not in the range 1<=x<=10000000"),
        (["--messages", "many"], "'many' is not a valid integer range"),
    ],
)
def test_bad_arguments_are_one_line(programs, arguments, told):
    demo = programs.chat("demo", *arguments)
    assert demo.wait() == 2
    assert told in demo.err
    assert demo.err.count("\n") == 1


def test_more_clients_than_descriptors(programs):
    script = 'ulimit -n 128 && exec "$@"'
    demo = programs.start("sh", "-c", script, "sh", *CHAT, "demo", "--clients", "100")
    assert demo.wait() == 1
    assert demo.err == (
        "fastsock-chat: 100 clients take 164 descriptors, this process may open 128 (ulimit -n)\n"
    )


@pytest.mark.parametrize(
    ("fault", "lost"), [("message", 1), ("byte", 0), ("order", 0), ("twice", 0), ("all", 4)]
)
def test_what_a_server_loses_or_spoils_is_found(fault, lost):
    work = Work(TEXT, 3)
    result = measure(fault, [sys.executable, LOSSY, fault, "3"], work, lambda done: None)
    assert (result.deliveries, result.lost, result.spoiled) == (12, lost, 1)
    with pytest.raises(ChatError, match=f"{fault}: 1 of 3 clients did not receive exactly"):
        check(work, [result])


def test_a_missing_byte_ends_the_command_with_status_1(programs):
    demo = programs.python(DEMO_WITH_LOSS, "demo", "--clients", "2", "--messages", "9")
    assert demo.wait() == 1
    assert demo.err == (
        "fastsock-chat: asyncio: 1 of 2 clients did not receive exactly what was sent;"
        " 0 of 18 deliveries lost\n"
    )
    assert rows(demo.out)["asyncio"][3] == "0"


def test_a_server_that_fails_is_named_with_what_it_said():
    for script, said in (("raise SystemExit('no sockets today')", "no sockets today"), ("", "")):
        with pytest.raises(ChatError, match=f"broken failed: {said or 'it said nothing'}"):
            measure("broken", [sys.executable, "-c", script], Work(TEXT, 1), lambda done: None)


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_behind(programs, signum, status):
    demo = programs.chat("demo", "--clients", "50", "--messages", "1000000")
    wait_until(lambda: len(children_of(demo.child.pid)) == 2, "a server and its clients run")
    children = children_of(demo.child.pid)
    demo.interrupt(signum)
    assert demo.wait() == status
    assert demo.err == ""
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
