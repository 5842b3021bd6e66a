"""The echo benchmark: whole runs of the command, and its load against servers that are wrong."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.load import message
from benchmarks.harness.processes import start_load, start_server
from benchmarks.peers.echo import PEERS

ROOT = Path(__file__).parents[2]
SIZE = 20
FRAME = SIZE + 1


def echo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.echo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


@pytest.mark.parametrize(
    ("transport", "mode", "clients", "size"),
    [("tcp", "blocking", 1, 64), ("unix", "blocking", 3, 9), ("tcp", "busy", 2, 700)],
)
def test_every_peer_answers_everything(transport: str, mode: str, clients: int, size: int) -> None:
    peers = ["limit", "fastsock", "fastsock-handlers"]
    peers += ["asyncio", "socket"] if mode == "blocking" else []
    done = echo(
        *["--seconds", "0.05", "--repeats", "2", "--json", "-", "--peers", ",".join(peers)],
        *["--transport", transport, "--mode", mode],
        *["--clients", str(clients), "--size", str(size)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    assert [row["peer"] for row in rows] == peers
    for row in rows:
        assert (row["scenario"], row["transport"], row["mode"]) == ("echo", transport, mode)
        assert (row["clients"], row["size"]) == (clients, size)
        assert (row["lost"], row["corrupt"], row["repeats"]) == (0, 0, 2)
        assert min(row["requests"], row["verified_messages"], row["requests_per_s"]) > 0
        assert 0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"]
        assert row["us_per_request"] > 0
    assert rows[0]["of_limit"] == rows[0]["p50_us_of_limit"] == 1.0


def test_cases_are_the_product_of_the_lists(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = echo(
        *["--seconds", "0.02", "--quick", "--peers", "limit,asyncio", "--json", str(results)],
        *["--transport", "tcp,unix", "--mode", "busy,blocking", "--clients", "1,2"],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "asyncio  is for blocking only" in done.stdout
    rows = json.loads(results.read_text())
    assert len(rows) == 8 + 4
    assert {row["mode"] for row in rows if row["peer"] == "asyncio"} == {"blocking"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--transport", "udp"], "echo: argument --transport: 'udp' is none of tcp,unix\n"),
        (["--mode", "lazy"], "echo: argument --mode: 'lazy' is none of blocking,busy\n"),
        (
            ["--clients", "0"],
            "echo: argument --clients: '0' is not a whole number from 1 to 10000\n",
        ),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: list[str], said: str) -> None:
    done = echo(*arguments)
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


# ---- The load, against servers of our own ----

Answer = Callable[[int, bytes], bytes]


def asked(clients: int, mode: str, answer: Answer) -> dict[str, Any]:
    """What the load counts where each request is answered with what `answer` makes of it."""

    def serve(peer: socket.socket) -> None:
        # A load that leaves something unread resets the connection.
        with peer, suppress(ConnectionResetError, BrokenPipeError):
            number = 0
            while request := peer.recv(FRAME, socket.MSG_WAITALL):
                peer.sendall(answer(number, request))
                number += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with start_load("echo_load", port, clients, SIZE, mode) as load:
            threads = [Thread(target=serve, args=[listener.accept()[0]]) for _ in range(clients)]
            for thread in threads:
                thread.start()
            try:
                assert load.answer() == {"clients": clients}
                return load.ask("run 0.1 0.2")
            finally:
                load.end()
                for thread in threads:
                    thread.join()


@pytest.mark.parametrize("mode", ["blocking", "busy"])
@pytest.mark.parametrize("clients", [1, 3])
class TestLoad:
    def test_right_answers(self, clients: int, mode: str) -> None:
        counted = asked(clients, mode, lambda number, request: request)
        assert (counted["lost"], counted["corrupt"]) == (0, 0)
        assert counted["requests"] > clients
        assert 0 < counted["p50_us"] <= counted["p999_us"]

    def test_a_wrong_byte(self, clients: int, mode: str) -> None:
        flipped = lambda number, request: request if number else b"?" + request[1:]  # noqa: E731
        counted = asked(clients, mode, flipped)
        assert (counted["lost"], counted["corrupt"]) == (0, clients)

    def test_the_answer_to_another_request(self, clients: int, mode: str) -> None:
        other = message(1 << 30, SIZE) + b"\n"
        counted = asked(clients, mode, lambda number, request: request if number else other)
        assert (counted["lost"], counted["corrupt"]) == (0, clients)

    def test_no_answer(self, clients: int, mode: str) -> None:
        counted = asked(clients, mode, lambda number, request: b"" if number else request)
        assert (counted["requests"], counted["lost"]) == (clients, clients)

    def test_part_of_an_answer(self, clients: int, mode: str) -> None:
        counted = asked(clients, mode, lambda number, request: request[: -number or None])
        assert (counted["requests"], counted["lost"]) == (clients, clients)

    def test_nothing_at_all(self, clients: int, mode: str) -> None:
        with pytest.raises(BenchmarkError, match=f"no answer to {clients} requests within 0.3 s"):
            asked(clients, mode, lambda number, request: b"")


def test_more_than_was_asked_for() -> None:
    counted = asked(1, "blocking", lambda number, request: request + b"more")
    assert counted["corrupt"] > 0


def test_a_server_that_closes_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("echo_load", listener.getsockname()[1], 1, SIZE, "blocking") as load,
    ):
        listener.accept()[0].close()
        load.answer()
        with pytest.raises(BenchmarkError, match="echo_load ended: (server|the other side) "):
            load.ask("run 0.1 0.1")


def test_the_limit_refuses_what_it_does_not_know() -> None:
    with start_server("echo", "limit") as server:
        assert server.port(PEERS["limit"].install) == 0
        with pytest.raises(BenchmarkError, match="limit server ended: no such command: jump"):
            server.ask("jump")
