"""The ingest benchmark: whole runs of the command, and its counting where messages are wrong."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import read_to_end

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.load import message
from benchmarks.harness.processes import Partner, cores, start_load, start_server
from benchmarks.ingest import Case, talk
from benchmarks.peers.ingest import PEERS

ROOT = Path(__file__).parents[2]
OWN = [peer for peer in PEERS if peer != "uvloop"]
"""Those that need nothing beside Python and a C compiler."""
SIZE = 20
FRAMES = [message(number, SIZE) + b"\n" for number in range(50)]
ALL = b"".join(FRAMES)


def ingest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.ingest", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


@pytest.mark.parametrize(("size", "batch"), [("64", "16"), ("3", "1"), ("5000", "3")])
def test_every_peer_takes_everything(size: str, batch: str) -> None:
    done = ingest(
        *["--clients", "7", "--seconds", "0.05", "--repeats", "2", "--json", "-"],
        *["--size", size, "--batch", batch, "--peers", ",".join(OWN)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    assert [row["peer"] for row in rows] == OWN
    for row in rows:
        assert (row["scenario"], row["clients"]) == ("ingest", 7)
        assert (row["size"], row["batch"]) == (int(size), int(batch))
        assert (row["lost"], row["corrupt"], row["repeats"]) == (0, 0, 2)
        assert min(row["messages"], row["verified_messages"]) > 0
        assert min(row["messages_per_s"], row["us_per_message"], row["seconds"]) > 0
    assert rows[OWN.index("limit")]["of_limit"] == 1.0


def test_a_bad_argument_is_told_in_one_line() -> None:
    done = ingest("--batch", "0")
    said = "ingest: argument --batch: '0' is not a whole number from 1 to 4096\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", said, 2)


@pytest.mark.parametrize("batch", [1, 16])
def test_the_load_sends_numbered_messages_to_the_end(batch: int) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("ingest_load", listener.getsockname()[1], 2, SIZE, batch) as load,
    ):
        ends = [listener.accept()[0] for _ in range(2)]
        assert load.answer() == {"clients": 2}
        load.tell("run 0.01 10")
        streams = [read_to_end(end) for end in ends]
        said = load.answer()
        for end in ends:
            end.close()
    for stream in streams:
        lines = stream.split(b"\n")
        assert lines.pop() == b""
        assert lines == [message(number, SIZE) for number in range(len(lines))]
        assert len(lines) % batch == 0
    assert said["messages"] == sum(stream.count(b"\n") for stream in streams) > 0


def test_a_server_that_does_not_listen_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("ingest_load", listener.getsockname()[1], 1, SIZE, 4096) as load,
    ):
        load.answer()
        with pytest.raises(BenchmarkError, match="1 clients could not send the rest within 0.1 s"):
            load.ask("run 0.1 0.1")


def taken(peer: str, *streams: bytes) -> dict[str, Any]:
    """What the server of a peer counts of what these clients say, with every byte checked."""
    with start_server("ingest", peer) as server:
        port = server.port(PEERS[peer].install)
        server.tell(f"receive {len(streams)} {SIZE} 1")
        for stream in streams:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(stream)
        return server.answer()


@pytest.mark.parametrize("peer", OWN)
def test_every_peer_finds_what_is_corrupt(peer: str) -> None:
    flipped = ALL[:215] + bytes([ALL[215] ^ 1]) + ALL[216:]
    swapped = b"".join([FRAMES[1], FRAMES[0], *FRAMES[2:]])
    longer = ALL[:-1] + b"x\n"
    counted = taken(peer, ALL, flipped, swapped, longer)
    assert counted["corrupt"] == 0 + 1 + 2 + 1
    assert counted["messages"] == 4 * len(FRAMES)
    assert counted["bytes"] == 4 * len(FRAMES) * SIZE + 1


SWALLOWS = """
import json, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
sys.stdin.readline()
client = listener.accept()[0]
lines = b"".join(iter(lambda: client.recv(65536), b"")).split(b"\\n")[:-1]
messages, excess = len(lines) + int(sys.argv[1]), int(sys.argv[2])
print(json.dumps({"messages": messages, "bytes": 20 * messages + excess, "corrupt": 0,
                  "last_s": 1e9, "cpu_s": 1.0}), flush=True)
"""


@pytest.mark.parametrize(
    ("messages", "excess", "lost", "corrupt"),
    [(0, 0, 0, 0), (-3, 0, 3, 0), (2, 0, 0, 2), (0, 5, 0, 1)],
)
def test_what_is_missing_is_lost_and_what_is_too_much_corrupt(
    messages: int, excess: int, lost: int, corrupt: int
) -> None:
    command = [sys.executable, "-c", SWALLOWS, str(messages), str(excess)]
    with Partner("wrong server", command, cores()[0]) as server:
        run = talk(server, server.port(""), Case(1, SIZE, 16), 0.01, check=False)
    assert (run.lost, run.corrupt) == (lost, corrupt)
