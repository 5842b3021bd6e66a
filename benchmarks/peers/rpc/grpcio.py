"""grpcio, synchronous: generic handlers, whose messages MessagePack packs instead of protobuf."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import msgspec
import numpy as np

from benchmarks.ends import rpc_server

THREADS = 10
"""As in the examples of grpcio's documentation."""

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
"""Its messages are of 4 MiB at most by default."""

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


NOTHING = b""
"""The message of a null call: grpcio takes None for one that cannot be unpacked."""


def pack_array(array: np.ndarray) -> bytes:
    return array.tobytes()


def unpack_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data)


def codec(case: str) -> tuple[Serializer, Deserializer]:
    if case == "array":
        return pack_array, unpack_array
    if case == "pipelined":
        return msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(int).decode
    return bytes, bytes


def answer(case: str) -> Callable[[Any, Any], Any]:
    if case == "pipelined":
        return lambda number, context: number + 1
    return lambda request, context: request


def handlers(case: str, behaviour: Callable[[Any, Any], Any]) -> grpc.GenericRpcHandler:
    pack, unpack = codec(case)
    method = grpc.unary_unary_rpc_method_handler(
        behaviour, request_deserializer=unpack, response_serializer=pack
    )
    return grpc.method_handlers_generic_handler("Bench", {"call": method})


def method_of(channel: Any, case: str) -> Any:
    """The client's side of the same."""
    pack, unpack = codec(case)
    return channel.unary_unary("/Bench/call", request_serializer=pack, response_deserializer=unpack)


def listen(case: str) -> int:
    server = grpc.server(ThreadPoolExecutor(THREADS), options=OPTIONS)
    server.add_generic_rpc_handlers([handlers(case, answer(case))])
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    serving.append(server)
    return port


serving: list[grpc.Server] = []
"""A server ends when nobody has it any more."""


@contextmanager
def connect(port: int, case: str) -> Iterator[Callable[[Any], Any]]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        method = method_of(channel, case)

        def pipelined(numbers: list[int]) -> list[int]:
            futures = [method.future(number) for number in numbers]
            return [future.result() for future in futures]

        def null(_: None) -> bytes | None:
            return method(NOTHING) or None

        yield {"pipelined": pipelined, "array": method}.get(case, null)


def serve() -> None:
    rpc_server.serve(listen)
