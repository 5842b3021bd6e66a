"""xmlrpc: one connection that stays open, a MultiCall for many calls at once, arrays as Binary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xmlrpc.client import Binary, MultiCall, ServerProxy
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import numpy as np

from benchmarks.ends import rpc_server


class KeepAlive(SimpleXMLRPCRequestHandler):
    """By default each call has a connection of its own."""

    protocol_version = "HTTP/1.1"


def null() -> None:
    return None


def following(number: int) -> int:
    return number + 1


def array(data: Binary) -> Binary:
    return Binary(np.frombuffer(data.data).tobytes())


def listen(case: str) -> int:
    server = SimpleXMLRPCServer(
        ("127.0.0.1", 0), requestHandler=KeepAlive, logRequests=False, allow_none=True
    )
    server.register_multicall_functions()
    for function in (null, following, array):
        server.register_function(function)
    rpc_server.in_background(server.serve_forever)
    port: int = server.server_address[1]
    return port


@contextmanager
def connect(port: int, case: str) -> Iterator[Callable[[Any], Any]]:
    with ServerProxy(f"http://127.0.0.1:{port}", allow_none=True) as proxy:

        def pipelined(numbers: list[int]) -> list[int]:
            batch = MultiCall(proxy)
            for number in numbers:
                batch.following(number)
            return list(batch())

        yield {
            "null": lambda _: proxy.null(),
            "pipelined": pipelined,
            "array": lambda x: np.frombuffer(proxy.array(Binary(x.tobytes())).data),
        }[case]


def serve() -> None:
    rpc_server.serve(listen)
