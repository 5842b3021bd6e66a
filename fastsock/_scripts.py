"""The entry points of both command lines, outside of the packages that need what may be missing."""

import sys

from fastsock._cli import need

__all__ = ["chat", "rpc"]


def chat() -> None:
    """The console script ``fastsock-chat``. Ends the process with its exit status."""
    need("fastsock-chat", "chat", ("click", "prompt_toolkit", "rich"))
    from fastsock.chat import commands

    sys.exit(commands.run())


def rpc() -> None:
    """The console script ``fastsock-rpc``. Ends the process with its exit status."""
    need("fastsock-rpc", "rpc", ("click", "msgspec", "rich"))
    from fastsock.rpc.cli import commands

    sys.exit(commands.run())
