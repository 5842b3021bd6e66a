"""The idle benchmark: whole runs of the command, and its load against servers that are wrong."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import read_exactly

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.load import message
from benchmarks.harness.processes import start_load, start_server
from benchmarks.idle import memory
from benchmarks.peers.idle import PEERS

ROOT = Path(__file__).parents[2]
OWN = [peer for peer in PEERS if peer != "uvloop"]
"""Those that need nothing beside Python and a C compiler."""
FRAME = 65


def idle(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.idle", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


def test_every_peer_holds_every_connection() -> None:
    done = idle(
        *["--clients", "300", "--seconds", "0.05", "--repeats", "2", "--json", "-"],
        *["--peers", ",".join(OWN)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    assert [row["peer"] for row in rows] == OWN
    for row in rows:
        assert (row["scenario"], row["clients"]) == ("idle", 300)
        assert (row["lost"], row["corrupt"], row["repeats"]) == (0, 0, 2)
        assert min(row["accepts_per_s"], row["us_per_accept"], row["broadcasts"]) > 0
        assert min(row["broadcast_ms"], row["us_per_delivery"]) > 0
        assert "private_bytes_of_asyncio" in row


def test_a_bad_argument_is_told_in_one_line() -> None:
    done = idle("--clients", "99")
    said = "idle: argument --clients: '99' is not a whole number from 100 to 50000\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


def test_private_memory_is_that_of_the_process() -> None:
    with start_server("idle", "limit") as server:
        server.port(PEERS["limit"].install)
        private, kernel = memory(server.pid)
    assert 1 << 12 <= private < 1 << 25
    assert kernel > 1 << 20


@pytest.mark.parametrize("peer", OWN)
def test_every_peer_answers_and_tells_all(peer: str) -> None:
    with start_server("idle", peer) as server:
        port = server.port(PEERS[peer].install)
        server.tell("grow 3")
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(message(number, FRAME - 1) + b"\n")
            assert read_exactly(client, FRAME) == message(number, FRAME - 1) + b"\n"
        assert server.answer()["cpu_s"] >= 0
        assert server.ask("broadcast 7")["started_s"] > 0
        for client in clients:
            assert read_exactly(client, FRAME) == message(7, FRAME - 1) + b"\n"
            client.close()


# ---- The load, against servers of our own ----

Answer = Callable[[int, bytes], bytes]


def grown(answer: Answer, broadcast: bytes = b"") -> list[dict[str, Any]]:
    """What the load counts where four clients are answered so, and then are told something."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("idle_load", listener.getsockname()[1]) as load,
    ):
        load.answer()
        load.tell("grow 4 0.3")
        ends = [listener.accept()[0] for _ in range(4)]
        for number, end in enumerate(ends):
            end.sendall(answer(number, read_exactly(end, FRAME)))
        counted = [load.answer()]
        if broadcast:
            load.tell("await 9 0.3")
            for end in ends[1:]:
                end.sendall(broadcast)
            ends[0].sendall(message(9, FRAME - 1) + b"\n")
            counted.append(load.answer())
        for end in ends:
            end.close()
    return counted


def faults(counted: dict[str, Any]) -> tuple[int, int]:
    return counted["lost"], counted["corrupt"]


def test_right_answers() -> None:
    counted = grown(lambda number, said: said, message(9, FRAME - 1) + b"\n")
    assert [faults(each) for each in counted] == [(0, 0), (0, 0)]
    assert counted[0]["seconds"] > 0


def test_a_wrong_byte_is_corrupt() -> None:
    assert faults(grown(lambda number, said: said if number else b"?" + said[1:])[0]) == (0, 1)


def test_an_answer_that_does_not_come_is_lost() -> None:
    assert faults(grown(lambda number, said: said if number % 2 else b"")[0]) == (2, 0)


def test_a_broadcast_of_another_message_is_corrupt() -> None:
    counted = grown(lambda number, said: said, message(8, FRAME - 1) + b"\n")
    assert faults(counted[1]) == (0, 3)


def test_a_server_that_closes_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("idle_load", listener.getsockname()[1]) as load,
    ):
        load.answer()
        load.tell("grow 1 10")
        listener.accept()[0].close()
        with pytest.raises(BenchmarkError, match="idle_load ended: server closed a connection"):
            load.answer()
