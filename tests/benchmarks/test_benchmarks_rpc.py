"""The RPC benchmark: whole runs of the command, and its clients against answers that are wrong."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from benchmarks.ends.rpc_client import Meter, measure, measure_async
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.processes import start_load, start_server
from benchmarks.peers.rpc import PEERS
from benchmarks.rpc import ARRAY_BYTES, start_client

ROOT = Path(__file__).parents[2]
FRAME = 29


def rpc(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.rpc", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


@pytest.mark.parametrize("case", ["null", "pooled", "busy", "pipelined", "array"])
def test_every_peer_answers_rightly(case: str) -> None:
    peers = [name for name, peer in PEERS.items() if peer.modes is None or case in peer.modes]
    done = rpc(
        *["--seconds", "0.01", "--repeats", "1", "--json", "-", "--peers", ",".join(peers)],
        *["--case", case, "--depth", "7"],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    assert [row["peer"] for row in rows] == peers
    for row in rows:
        assert (row["scenario"], row["case"]) == ("rpc", case)
        assert row["depth"] == (7 if case == "pipelined" else 1)
        assert (row["wrong"], row["repeats"]) == (0, 1)
        assert row["calls"] >= row["depth"]
        assert row["calls_per_s"] == pytest.approx(row["calls"] / row["seconds"])
        assert 0 < row["p50_us"] <= row["p99_us"]
        moved = 2 * ARRAY_BYTES / 1e6 if case == "array" else 0
        assert row["mb_per_s"] == pytest.approx(row["calls_per_s"] * moved)
    limit = next(row for row in rows if row["peer"] == "limit")
    assert limit["of_limit"] == limit["p50_us_of_limit"] == 1.0


def test_who_does_not_know_a_case_is_named_below_the_table(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = rpc(
        *["--seconds", "0.01", "--repeats", "1", "--peers", "limit,xmlrpc"],
        *["--case", "busy", "--json", str(results)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "xmlrpc  is for null and pipelined and array only" in done.stdout
    assert [row["peer"] for row in json.loads(results.read_text())] == ["limit"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--case", "zero"],
            "rpc: argument --case: 'zero' is none of null,pooled,busy,pipelined,array\n",
        ),
        (["--depth", "0"], "rpc: argument --depth: '0' is not a whole number from 1 to 1024\n"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: list[str], said: str) -> None:
    done = rpc(*arguments)
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


# ---- The client written in Python ----


def counted(case: str, call: Callable[[Any], Any]) -> tuple[int, int]:
    """How many calls were made in a short time, and how many rounds had a wrong answer."""
    meter = Meter(case, 3)
    measure(call, meter, 0.01)
    report = meter.report()
    assert 0 < report["p50_us"] <= report["p99_us"]
    assert report["seconds"] > 0
    return report["calls"], report["wrong"]


@pytest.mark.parametrize(
    ("case", "right"),
    [
        ("null", lambda request: None),
        ("pipelined", lambda numbers: [number + 1 for number in numbers]),
        ("array", np.copy),
    ],
)
def test_right_answers(case: str, right: Callable[[Any], Any]) -> None:
    calls, wrong = counted(case, right)
    assert calls > 0
    assert wrong == 0


@pytest.mark.parametrize(
    ("case", "not_right"),
    [
        ("null", lambda request: 0),
        ("pipelined", lambda numbers: numbers),
        ("pipelined", lambda numbers: [number + 1 for number in numbers[1:]]),
        ("array", lambda array: array),
        ("array", lambda array: array + 1),
        ("array", lambda array: array.astype(">f8")),
        ("array", lambda array: array[:-1].copy()),
        ("array", lambda array: None),
    ],
)
def test_wrong_answers(case: str, not_right: Callable[[Any], Any]) -> None:
    calls, wrong = counted(case, not_right)
    assert calls == wrong * (3 if case == "pipelined" else 1) > 0


def test_no_request_comes_twice() -> None:
    seen: list[list[int]] = []
    counted("pipelined", seen.append)
    numbers = [number for request in seen for number in request]
    assert numbers == list(range(len(numbers)))


def test_awaited_answers() -> None:
    async def call(request: None) -> None:
        await asyncio.sleep(0)

    meter = Meter("null", 1)
    asyncio.run(measure_async(call, meter, 0.01))
    report = meter.report()
    assert report["calls"] > report["wrong"] == 0


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        ("multiprocessing", "ConnectionRefusedError: "),
        ("grpcio", "_InactiveRpcError: .*UNAVAILABLE"),
    ],
)
def test_an_error_of_a_peer_is_told_in_one_line(peer: str, why: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with (
            start_client(peer, closed.getsockname()[1], "null", 1, 0, 0.1) as client,
            pytest.raises(BenchmarkError, match=f"{peer} client ended: {why}"),
        ):
            client.answer()


# ---- The client written in C, against servers of our own ----


def loaded(answer: Callable[[int, bytes], bytes], mode: str = "blocking") -> dict[str, Any]:
    """What it says where each request, numbered, is answered with what `answer` makes of it."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        # A client that leaves something unread resets the connection.
        with peer, suppress(ConnectionError):
            number = 0
            while request := peer.recv(FRAME, socket.MSG_WAITALL):
                peer.sendall(answer(number, request))
                number += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = Thread(target=serve, args=[listener])
        thread.start()
        try:
            with start_load("rpc_load", port, FRAME, 3, mode, 0.01, 0.05) as load:
                return load.answer()
        finally:
            thread.join()


@pytest.mark.parametrize("mode", ["blocking", "busy"])
def test_the_bar_takes_right_answers(mode: str) -> None:
    report = loaded(lambda number, request: request, mode)
    assert report["calls"] >= 3
    assert report["wrong"] == 0
    assert 0 < report["p50_us"] <= report["p99_us"]


def test_the_bar_finds_a_wrong_byte() -> None:
    report = loaded(lambda number, request: b"?" * FRAME)
    assert report["calls"] == 3 * report["wrong"] > 0


def test_the_bar_tells_of_a_server_that_ends() -> None:
    def end(number: int, request: bytes) -> bytes:
        raise ConnectionError

    with pytest.raises(BenchmarkError, match="rpc_load ended: (server|the other side) went away"):
        loaded(end)


def test_the_bar_answers_whole_requests_only() -> None:
    with start_server("rpc", "limit") as server:
        server.port(PEERS["limit"].install)
        port = server.ask(f"listen {FRAME} blocking")["port"]
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(bytes(range(FRAME)) + b"part")
            assert client.recv(FRAME, socket.MSG_WAITALL) == bytes(range(FRAME))
            client.sendall(b"." * (FRAME - 4))
            assert client.recv(FRAME, socket.MSG_WAITALL) == b"part" + b"." * (FRAME - 4)


def test_the_bar_refuses_what_it_does_not_know() -> None:
    with start_server("rpc", "limit") as server:
        server.port(PEERS["limit"].install)
        with pytest.raises(BenchmarkError, match="limit server ended: no such command: jump"):
            server.ask("jump")
