"""``fastsock-chat`` with a demonstration in which asyncio's server loses one byte."""

import sys
from pathlib import Path

from fastsock import _scripts
from fastsock.chat import demo

LOSSY = str(Path(__file__).with_name("lossy.py"))
server_command = demo.server_command


def lossy_command(name: str, clients: int) -> list[str]:
    if name == "asyncio":
        return [sys.executable, LOSSY, "byte", str(clients)]
    return server_command(name, clients)


demo.server_command = lossy_command
demo.SHORT_RUNS = 1
_scripts.chat()
