"""A conversation of a server, two clients and an input terminal, in four terminals.

``python tests/support/conversation.py > docs/conversation.txt`` records what each of them shows.
"""

import re
import tempfile
from pathlib import Path

from peers.tmux import Tmux

TERMINALS = ("server", "Ann", "Bob", "input")


def play(directory: Path) -> dict[str, str]:
    """Has the conversation; returns what each terminal shows in the end."""
    tmux = Tmux(directory)
    try:
        begin(tmux, directory / "fifo")
        converse(tmux)
        return {terminal: tmux.screen(terminal) for terminal in TERMINALS}
    finally:
        tmux.close()


def begin(tmux: Tmux, fifo: Path) -> None:
    """Starts a program in each terminal."""
    for terminal in TERMINALS:
        tmux.open(terminal)
    tmux.type("server", f"fastsock-chat server --fifo {fifo}")
    port = re.search(r"listening on 127\.0\.0\.1:(\d+)", tmux.expect("server", "reading FIFO"))[1]
    for number, name in enumerate(("Ann", "Bob"), 1):
        tmux.type(name, f"fastsock-chat connect 127.0.0.1 {port} --name {name}")
        tmux.expect("server", f"client {number} joined")
        tmux.expect(name, ">")
    tmux.type("input", f"fastsock-chat input {fifo}")
    tmux.expect("input", ">")


def converse(tmux: Tmux) -> None:
    """Types line after line; each is waited for where it has to appear."""
    for typist, line, hearer, text in (
        ("Ann", "Hello, is anybody here?", "Bob", "1: Ann: Hello, is anybody here?"),
        ("Bob", "Grüß dich, Ann!", "Ann", "2: Bob: Grüß dich, Ann!"),
        ("server", "Welcome, both of you.", "Bob", "\nWelcome, both of you."),
        ("input", "@2 Bob, this is for you alone.", "Bob", "\nBob, this is for you alone."),
        ("server", "/who", "server", "client 2 from 127.0.0.1:"),
        ("server", "@7 Who are you?", "server", "there is no client 7; connected: 1, 2"),
        ("Bob", "end", "server", "client 2 left (said end)"),
        ("input", "end", "Ann", "the server has ended the conversation"),
    ):
        tmux.type(typist, line)
        tmux.expect(hearer, text)
    for terminal in ("server", "Ann", "Bob"):
        tmux.expect_shell(terminal)
        tmux.type(terminal, "echo status $?")
        tmux.expect(terminal, "\nstatus 0")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        screens = play(Path(directory))
    recorded = "\n\n".join(
        f"---- {terminal} ".ljust(80, "-") + f"\n{screen.strip()}"
        for terminal, screen in screens.items()
    )
    print(recorded.replace(directory, "/tmp"))


if __name__ == "__main__":
    main()
