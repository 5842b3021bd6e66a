"""Pyro5: a proxy, a batch for many calls at once, and the msgpack serializer, fastest for bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import Pyro5.api

from benchmarks.ends import rpc_server

Pyro5.config.SERIALIZER = "msgpack"
Pyro5.config.SOCK_NODELAY = True


@Pyro5.api.expose
class Bench:
    def null(self) -> None:
        return None

    def following(self, number: int) -> int:
        return number + 1

    def array(self, data: bytes) -> bytes:
        return np.frombuffer(data).tobytes()


def listen(case: str) -> int:
    daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
    daemon.register(Bench(), "bench")
    rpc_server.in_background(daemon.requestLoop)
    port: int = daemon.sock.getsockname()[1]
    return port


@contextmanager
def connect(port: int, case: str) -> Iterator[Callable[[Any], Any]]:
    with Pyro5.api.Proxy(f"PYRO:bench@127.0.0.1:{port}") as proxy:

        def pipelined(numbers: list[int]) -> list[int]:
            batch = Pyro5.api.BatchProxy(proxy)
            for number in numbers:
                batch.following(number)
            return list(batch())

        yield {
            "null": lambda _: proxy.null(),
            "pipelined": pipelined,
            "array": lambda x: np.frombuffer(proxy.array(x.tobytes())),
        }[case]


def serve() -> None:
    rpc_server.serve(listen)
