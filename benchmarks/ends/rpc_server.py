"""What the server of a peer of the remote calls answers (server.py says how).

It says {"port": 0} at first, since it listens nowhere yet.

    listen CASE   {"port": ...}: serves what that case needs, until the process ends

csrc/rpc_limit.c says the same, and is told bytes and whether to be busy instead of a case.
"""

from collections.abc import Callable
from threading import Thread

from benchmarks.ends.server import answer, obey


def serve(listen: Callable[[str], int]) -> None:
    """Answers the commands on stdin until it ends. `listen(case)` serves in other threads."""
    answer(port=0)
    obey({"listen": lambda case: {"port": listen(case)}})


def in_background(serve_forever: Callable[[], object]) -> None:
    """Runs a peer's loop in a thread that ends with the process."""
    Thread(target=serve_forever, daemon=True).start()
