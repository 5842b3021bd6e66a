"""The programs of examples/ do what they say."""

from pathlib import Path

from peers.process import PYTHON, ROOT

from fastsock import net, rpc
from fastsock.rpc.matchmaker.service import Matchmaker

pytest_plugins = ["peers.fixtures"]

EXAMPLES = Path(ROOT) / "examples"


def run_example(programs, name, *arguments):
    # Without -P, so that examples import each other.
    command = [each for each in PYTHON if each != "-P"]
    return programs.start(*command, str(EXAMPLES / name), *map(str, arguments))


def test_the_client_calls_the_calculator_in_each_way(programs):
    port = net.free_port()
    server = run_example(programs, "rpc_calculator.py", port)
    server.expect(f"serving at 127.0.0.1 {port}")
    client = run_example(programs, "rpc_client.py", port)
    assert client.wait() == 0, client.err
    assert client.out.splitlines() == [
        "call: 3.0",
        "begin: [0.0, 2.0, 4.0]",
        "stream: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
        "aio: [0.5, 1.5, 2.5]",
        "async for: [2, 3, 5, 7, 11]",
        "error: float division by zero",
        "deadline: primes did not end in time",
    ]


def test_two_servers_with_one_name(programs):
    with rpc.serve(Matchmaker(), linger=0.2) as matchmaker:
        example = run_example(programs, "rpc_matchmaker.py", matchmaker.address[1])
        assert example.wait() == 0, example.err
    assert example.out.splitlines() == [
        "two servers, and 1 + 2 = 3.0",
        "one of them drains, and 2 + 3 = 5.0",
        "both drain: the server is draining",
    ]
