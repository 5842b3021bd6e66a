"""A server whose method must not run twice: python rpc_ledger.py PORT FILE. It prints its port and
ends with its stdin, or is killed."""

import os
import sys

from fastsock import rpc


class Ledger(rpc.Service):
    """Every entry is a line of a file, which outlives the server."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def close(self) -> None:
        os.close(self.file)

    def write(self, entry: str) -> str:
        os.write(self.file, f"{entry}\n".encode())
        return entry

    @rpc.method
    def append(self, entry: str, padding: bytes = b"") -> str:
        return self.write(entry)

    @rpc.method(inline=True)
    def append_inline(self, entry: str, padding: bytes = b"") -> str:
        return self.write(entry)

    @rpc.method
    async def append_task(self, entry: str, padding: bytes = b"") -> str:
        return self.write(entry)

    @rpc.method(idempotent=True)
    def look(self, entry: str, padding: bytes = b"") -> str:
        """May run twice, and so writes nothing."""
        return entry


if __name__ == "__main__":
    with (
        Ledger(sys.argv[2]) as ledger,
        rpc.serve(ledger, ("127.0.0.1", int(sys.argv[1])), linger=0.3) as server,
    ):
        print(server.address[1], flush=True)
        sys.stdin.read()
