"""The process of a peer's server: `python -m benchmarks.ends.server SCENARIO PEER [OPTION...]`.

It prints {"port": N}, or {"missing": WHY} where it cannot take part here. Then it answers each line
of stdin with one line of JSON, until stdin ends; the end of the process closes the connections.
"""

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmarks.harness.errors import Unavailable
from benchmarks.peers import Peer

Command = Callable[..., Mapping[str, Any]]


def answer(**fields: object) -> None:
    """Prints one line of JSON."""
    print(json.dumps(fields), flush=True)


def obey(commands: Mapping[str, Command]) -> None:
    """Answers the lines on stdin until it ends: the word of a command, and its arguments."""
    for line in sys.stdin:
        verb, *arguments = line.split()
        if verb not in commands:
            raise SystemExit(f"no such command: {line!r}")
        answer(**commands[verb](*arguments))


def main() -> None:
    """Starts the peer that the command line names, or says what it misses."""
    scenario, name, *options = sys.argv[1:]
    peer: Peer = import_module(f"benchmarks.peers.{scenario}").PEERS[name]
    try:
        peer.serve(scenario, name, options)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "fastsock":
            raise SystemExit(f"fastsock cannot be imported: {error}; try make build") from None
        answer(missing=str(error))
    except Unavailable as error:
        answer(missing=str(error))


if __name__ == "__main__":
    main()
