"""``fastsock-chat``: a conversation over sockets, in a terminal or through pipes."""

import sys

from fastsock.program import need

__all__ = ["main"]

EXTRA = ("click", "prompt_toolkit", "rich")


def main() -> None:
    """The console script ``fastsock-chat``. Ends the process with its exit status."""
    need("fastsock-chat", "chat", EXTRA)
    from fastsock.chat import commands

    sys.exit(commands.run())
