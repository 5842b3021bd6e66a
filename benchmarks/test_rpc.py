"""What a remote call costs, against multiprocessing.connection: peers of the scenario rpc.

Each server is a process of its own; its clients are those of benchmarks/peers/rpc.
"""

from importlib import import_module

import pytest

from benchmarks.harness.processes import start_server
from benchmarks.peers.rpc import PEERS

ROUNDS = 100
CASES = {
    "null": ("rpc: 20 calls without arguments", None, 20),
    "pipelined": ("rpc: 256 calls under way at once", list(range(256)), 1),
}


@pytest.mark.parametrize("contender", ["fastsock", "multiprocessing"])
@pytest.mark.parametrize("case", CASES)
def test_call(benchmark, case, contender):
    benchmark.group, request, count = CASES[case]
    with start_server("rpc", contender) as server:
        server.port(PEERS[contender].install)
        port = server.ask(f"listen {case}")["port"]
        with import_module(f"benchmarks.peers.rpc.{contender}").connect(port, case) as call:

            def calls():
                for _ in range(count):
                    call(request)

            benchmark.pedantic(calls, rounds=ROUNDS, warmup_rounds=5)
