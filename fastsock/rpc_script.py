"""The script ``fastsock-rpc``, outside of ``fastsock.rpc``, which needs what may be missing."""

import sys

from fastsock.program import need

__all__ = ["main"]

EXTRA = ("click", "msgspec", "rich")


def main() -> None:
    """Ends the process with the exit status of the command line."""
    need("fastsock-rpc", "rpc", EXTRA)
    from fastsock.rpc import commands

    sys.exit(commands.run())
