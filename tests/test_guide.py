"""Every program of README.md and docs/guide runs, and every page names files that exist."""

import inspect
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import WAIT, wait_until
from guide import PROGRAMS, TREE
from peers.process import Process

from fastsock import Client, MultiServer, SingleServer, net, rpc
from fastsock.rpc.matchmaker.service import Matchmaker

pytest_plugins = ["peers.fixtures"]

SKIPPED = {".venv", ".pytest_cache", "build", "dist", "node_modules"}
PAGES = sorted(page for page in TREE.rglob("*.md") if not SKIPPED & {*page.relative_to(TREE).parts})
TOPS = "benchmarks", "csrc", "docs", "examples", "fastsock", "tests"
FILES = re.compile(r"`((?:\w+/)*\w+\.(?:pyx?|pxd|pyi|[ch]|toml|txt|sh))`")
NAMES = re.compile(r"\bfs_\w+")
QUOTED_NAMES = re.compile(r"`(fs_\w*[^\W_])`")
PORTS = "9000", "7000", "7411"


class Program:
    """A program of the guide, with free ports in place of those that it names."""

    def __init__(self, text: str, run: Callable[[str], Process]) -> None:
        self._free = {shown: net.free_port() for shown in PORTS}
        self._text = re.sub("|".join(PORTS), lambda found: str(self._free[found[0]]), text)
        self._run = run

    def port(self, shown: int) -> int:
        """The port that it uses instead of the one shown."""
        return self._free[str(shown)]

    def start(self) -> Process:
        return self._run(self._text)


Talk = Callable[[Program], None]
"""Runs a program and talks to it as its page says."""


def dial(process: Process, port: int) -> Client:
    """A client of a server that the process opens now."""
    client: list[Client] = []

    def connected() -> bool:
        if process.child.poll() is not None:
            process.wait()
            pytest.fail(f"ended before it listened: {process.err}")
        try:
            client.append(Client.connect(("127.0.0.1", port), timeout=WAIT))
        except ConnectionRefusedError:
            return False
        return True

    wait_until(connected, f"a server at port {port}")
    return client[0]


def interrupt(process: Process, *clients: Client) -> None:
    """End a program that serves without an end.

    The signal may come just before it sleeps, or in a hook of fork, whose exceptions Python drops.
    So its clients leave, which wakes it, and it is interrupted again if it goes on.
    """
    for _ in range(10):
        process.interrupt(signal.SIGINT)
        for client in clients:
            client.close()
        with suppress(subprocess.TimeoutExpired):
            process.child.wait(WAIT / 10)
            break
    assert process.wait() == 128 + signal.SIGINT, process.err
    assert process.err.endswith("KeyboardInterrupt\n")


def prints(*lines: str) -> Talk:
    """The program ends by itself, and prints lines that these patterns match, in any order."""

    def talk(program: Program) -> None:
        process = program.start()
        assert process.wait() == 0, process.err
        said = process.out.splitlines()
        assert len(said) == len(lines), said
        for line in lines:
            assert any(re.fullmatch(line, each) for each in said), (line, said)

    return talk


def hears(program: Program) -> None:
    """A client prints what a server says until that closes."""
    with SingleServer(("127.0.0.1", program.port(9000))) as server:
        process = program.start()
        with server.accept(timeout=WAIT) as conn:
            conn.send_many([b"one", b"two"])
        assert process.wait() == 0, process.err
    assert process.out.splitlines() == ["b'one'", "b'two'"]


def ticks(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as client:
        assert client.recv(timeout=WAIT) == b"tick"
        interrupt(process, client)


def answers(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as first, dial(process, program.port(9000)) as second:
        second.send(b"here")
        assert second.recv(timeout=WAIT) == b"got it"
        assert first.recv(timeout=WAIT) == b"here"
        interrupt(process, first, second)


def relays(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as first, dial(process, program.port(9000)) as second:
        second.send(b"here")
        assert first.recv(timeout=WAIT) == b"here"
        first.send(b"hello")
        assert second.recv(timeout=WAIT) == b"hello"
        interrupt(process, first, second)


def welcomes(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as first, dial(process, program.port(9000)) as second:
        assert first.recv(timeout=WAIT) == second.recv(timeout=WAIT) == b"welcome"
        first.send(b"hello")
        assert second.recv(timeout=WAIT) == b"hello"
        second.close()
        process.expect("2 left: closed by peer")
        interrupt(process, first)


def echoes(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as client:
        client.send_many([b"hello", b"stop"])
        assert list(client) == [b"hello", b"bye"]
    assert process.wait() == 0, process.err


def talks_to_one(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as client:
        assert client.recv(timeout=WAIT) == b"welcome"
        client.send_many([b"hello", b"goodbye"])
    assert process.wait() == 0, process.err
    assert process.out.splitlines() == ["b'hello'", "b'goodbye'"]


def forks(program: Program) -> None:
    process = program.start()
    with dial(process, program.port(9000)) as first, dial(process, program.port(9000)) as second:
        for client in (second, first):
            client.send(b"hello")
            assert client.recv(timeout=WAIT) == b"hello"
        interrupt(process, first, second)


def is_found(program: Program) -> None:
    """A server and its client meet by a matchmaker."""
    with rpc.serve(Matchmaker(), ("127.0.0.1", program.port(7411)), linger=0.2):
        prints("12")(program)


def knows_the_machine(program: Program) -> None:
    process = program.start()
    assert process.wait() == 0, process.err
    port, *interfaces, addresses = process.out.splitlines()
    assert 0 < int(port) < 1 << 16
    assert any(each.startswith("lo ") for each in interfaces)
    assert "127.0.0.1" in addresses


TALKS: dict[str, Talk] = {
    "README: Tell everybody, 1": ticks,
    "README: Tell everybody, 2": hears,
    "README: Answer, and relay, 3": answers,
    "README: Call another process, 4": prints(r"3\.0"),
    "client: Client, 1": hears,
    "client: In an event loop, 2": hears,
    "client: SingleServer, 3": talks_to_one,
    "client: SingleServer, 4": forks,
    "rpc: Remote procedure calls, 1": prints(
        r"3\.0", r"\[0\.0, 2\.0, 4\.0\]", r"\[2, 3, 5, 7, 11, 13, 17, 19\]"
    ),
    "rpc: What you may want, 2": prints("overdrawn by 100"),
    "rpc: What you may want, 3": prints("hello eve", r"\['done'\]"),
    "rpc: Without addresses, 4": is_found,
    "server: Where it listens, 1": prints(r"\(\('127.0.0.1', \d+\), .*/chat.sock'\)"),
    "server: Drive it, 2": relays,
    "server: Drive it, 3": welcomes,
    "server: Drive it, 4": echoes,
    "sockets: Raw sockets, 1": prints("b'hello'"),
    "sockets: Raw sockets, 2": prints(r"\[4 4 4\]", r"\[4 4 4\]"),
    "sockets: Raw sockets, 3": knows_the_machine,
}
"""How each program is run, by page, heading and number in the page."""


def test_every_program_is_here():
    assert sorted(TALKS) == sorted(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_does_what_its_page_says(programs, tmp_path, name):
    path = tmp_path / "pasted.py"

    def run(text: str) -> Process:
        path.write_text(text)
        return programs.python(str(path), cwd=tmp_path)

    TALKS[name](Program(PROGRAMS[name], run))


def anchors_of(page: Path) -> set[str]:
    """What links can name within a page: its headings, as code hosts spell them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TREE)))
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_every_file_that_a_page_names_exists():
    """A path may be in part: `rpc/server/limits.py`. `fs_log` is a name of the C engine."""
    files = [each for top in TOPS for each in (TREE / top).rglob("*.*")] + [*TREE.iterdir()]
    paths = [f"/{each.relative_to(TREE)}" for each in files]
    names = {
        name for each in (TREE / "csrc").rglob("*.[ch]") for name in NAMES.findall(each.read_text())
    }
    names |= {each.stem for each in files}
    missing = []
    for page in PAGES:
        text = page.read_text()
        for file in FILES.findall(text):
            if not any(path.endswith(f"/{file}") for path in paths):
                missing.append((page.name, file))
        missing += [(page.name, name) for name in QUOTED_NAMES.findall(text) if name not in names]
    assert missing == []


LIMITED: dict[str, list[Callable[..., object]]] = {
    "`rpc.serve`": [rpc.serve],
    "`MultiServer`": [MultiServer],
    "`SingleServer`": [SingleServer],
    "`Client` and stubs": [Client.connect, rpc.connect],
}
"""Whose options the tables of docs/limits.md have, by heading."""


def test_limits_names_options_that_there_are():
    """In *italics* it names constants of the code."""
    files = [each for top in ("csrc", "fastsock") for each in (TREE / top).rglob("*.*")]
    sources = [each for each in files if each.suffix in (".c", ".h", ".py", ".pyx")]
    code = "\n".join(each.read_text() for each in sources)
    sections = re.split(r"^## ", (TREE / "docs/limits.md").read_text(), flags=re.MULTILINE)[1:]
    assert [each.partition("\n")[0] for each in sections] == list(LIMITED)
    for section, limited in zip(sections, LIMITED.values(), strict=True):
        known = {name for each in limited for name in inspect.signature(each).parameters}
        for row in re.findall(r"^\| (?!what|---|a |an |bytes)(.*) \|$", section, re.MULTILINE):
            option = row.split(" | ")[1]
            assert set(re.findall(r"`(\w+)`", option)) <= known, row
            for name in re.findall(r"\*(\w+)\*", option):
                assert re.search(rf"\b{name} = ", code), row


def test_the_readme_is_short():
    assert len((TREE / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(
    "page",
    [TREE / "ARCHITECTURE.md", *sorted((TREE / "docs/architecture").glob("*.md"))],
    ids=lambda page: page.stem,
)
def test_lines_of_the_architecture_are_short(page):
    long = [line for line in page.read_text().splitlines() if len(line) > 100 and line[0] != "|"]
    assert long == []
