"""grpcio's asyncio form on both sides: handlers run on the event loop, calls are gathered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import Any

from grpc import aio

from benchmarks.ends import rpc_server
from benchmarks.peers.rpc.grpcio import NOTHING, OPTIONS, answer, handlers, method_of


def listen(case: str) -> int:
    ports: SimpleQueue[int] = SimpleQueue()
    behaviour = answer(case)

    async def handle(request: Any, context: Any) -> Any:
        return behaviour(request, context)

    async def serve_forever() -> None:
        server = aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers([handlers(case, handle)])
        ports.put(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        await server.wait_for_termination()

    rpc_server.in_background(lambda: asyncio.run(serve_forever()))
    return ports.get(timeout=10)


@asynccontextmanager
async def connect(port: int, case: str) -> AsyncIterator[Callable[[Any], Awaitable[Any]]]:
    async with aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        method = method_of(channel, case)

        async def pipelined(numbers: list[int]) -> list[int]:
            return await asyncio.gather(*(method(number) for number in numbers))

        async def null(_: None) -> bytes | None:
            return await method(NOTHING) or None

        yield {"pipelined": pipelined, "array": method}.get(case, null)


def serve() -> None:
    rpc_server.serve(listen)
