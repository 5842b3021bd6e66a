"""multiprocessing.connection: messages of one connection, answered by a loop of our own."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import numpy as np

from benchmarks.ends import rpc_server
from benchmarks.ends.rpc_client import ARRAY_ITEMS


def at_once(connection: Connection) -> Connection:
    """Without TCP_NODELAY the end of an array waits for an acknowledgement."""
    with socket.socket(fileno=connection.fileno()) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.detach()
    return connection


def answer_null(connection: Connection) -> None:
    while True:
        connection.send(connection.recv())


def answer_numbers(connection: Connection) -> None:
    while True:
        connection.send(connection.recv() + 1)


def answer_arrays(connection: Connection) -> None:
    """Arrays are sent as bytes, and received where they shall be, as the documentation advises."""
    taken = np.empty(ARRAY_ITEMS)
    while True:
        connection.recv_bytes_into(memoryview(taken).cast("B"))
        connection.send_bytes(memoryview(taken).cast("B"))


ANSWER = {"null": answer_null, "pipelined": answer_numbers, "array": answer_arrays}


def listen(case: str) -> int:
    listener = Listener(("127.0.0.1", 0))

    def serve_one() -> None:
        with suppress(EOFError):
            ANSWER[case](at_once(listener.accept()))

    rpc_server.in_background(serve_one)
    port: int = listener.address[1]
    return port


@contextmanager
def connect(port: int, case: str) -> Iterator[Callable[[Any], Any]]:
    with at_once(Client(("127.0.0.1", port))) as connection:
        yield {
            "null": lambda request: one(connection, request),
            "pipelined": lambda numbers: many(connection, numbers),
            "array": lambda array: one_array(connection, array),
        }[case]


def one(connection: Connection, request: object) -> object:
    connection.send(request)
    return connection.recv()


def many(connection: Connection, requests: list[int]) -> list[int]:
    for request in requests:
        connection.send(request)
    return [connection.recv() for _ in requests]


def one_array(connection: Connection, array: np.ndarray) -> np.ndarray:
    connection.send_bytes(memoryview(array).cast("B"))
    taken = np.empty_like(array)
    connection.recv_bytes_into(memoryview(taken).cast("B"))
    return taken


def serve() -> None:
    rpc_server.serve(listen)
