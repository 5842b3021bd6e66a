"""``fastsock-chat``: a conversation over sockets, in a terminal or through pipes."""

import importlib.util
import sys

__all__ = ["main"]

EXTRA = ("click", "prompt_toolkit", "rich")


def main() -> None:
    """The console script ``fastsock-chat``. Ends the process with its exit status."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"fastsock-chat: {' and '.join(missing)} missing: pip install 'fastsock[chat]'",
            file=sys.stderr,
        )
        sys.exit(1)
    from fastsock.chat import commands

    sys.exit(commands.run())
