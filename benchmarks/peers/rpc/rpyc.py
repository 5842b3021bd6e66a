"""rpyc: a thread per connection; arrays travel as bytes, which rpyc passes by value."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rpyc
from rpyc.core import Channel, SocketStream
from rpyc.utils.server import ThreadedServer

from benchmarks.ends import rpc_server

Channel.COMPRESSION_THRESHOLD = 1 << 30
"""Random numbers cannot be compressed: trying to would take longer than sending them."""


class Bench(rpyc.Service):
    def exposed_null(self) -> None:
        return None

    def exposed_following(self, number: int) -> int:
        return number + 1

    def exposed_array(self, data: bytes) -> bytes:
        return np.frombuffer(data).tobytes()


def listen(case: str) -> int:
    server = ThreadedServer(Bench, hostname="127.0.0.1", port=0)
    rpc_server.in_background(server.start)
    return server.port


@contextmanager
def connect(port: int, case: str) -> Iterator[Callable[[Any], Any]]:
    stream = SocketStream.connect("127.0.0.1", port, nodelay=True)
    with rpyc.connect_stream(stream) as connection:
        # A method that is looked up again for each call costs one more round trip.
        null, array = connection.root.null, connection.root.array
        following = rpyc.async_(connection.root.following)

        def pipelined(numbers: list[int]) -> list[int]:
            calls = [following(number) for number in numbers]
            return [call.value for call in calls]

        yield {
            "null": lambda _: null(),
            "pipelined": pipelined,
            "array": lambda x: np.frombuffer(array(x.tobytes())),
        }[case]


def serve() -> None:
    rpc_server.serve(listen)
