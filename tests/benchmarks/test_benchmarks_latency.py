"""The latency mode of the fan-out benchmark, and its load generator against wrong servers."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.load import Pace, message
from benchmarks.harness.processes import start_load
from benchmarks.peers.fanout import PEERS

ROOT = Path(__file__).parents[2]
PEER_KEYS = [f"of_{peer.replace('-', '_')}" for peer in PEERS]
KEYS = {
    *["scenario", "mode", "clients", "size", "load", "peer", "messages", "messages_per_s"],
    *["last_p50_us", "last_p99_us", "first_p50_us", "first_p99_us", "sink_cpu_share"],
    *["sink_bound", "lost", "corrupt", "verified_messages", "repeats", "spread"],
    *["when", "commit", "machine"],
    *PEER_KEYS,
    *[f"{of}_{key}" for of in ("last_p99_us", "first_p50_us", "first_p99_us") for key in PEER_KEYS],
}
SIZE = 20
COUNT = 10
FRAMES = [message(number, SIZE) + b"\n" for number in range(COUNT)]


def test_every_peer_is_paced_by_limit_and_delivers_everything() -> None:
    arguments = ["--mode", "latency", "--clients", "3", "--seconds", "0.05", "--repeats", "1"]
    peers = ["limit", "asyncio", "asyncio-joined"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fanout", *arguments]
        + ["--load", "5,20", "--peers", ",".join(peers), "--json", "-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    assert [(row["load"], row["peer"]) for row in rows] == [
        (load, peer) for load in (0.05, 0.2) for peer in peers[:2]
    ]
    for row in rows:
        assert set(row) == KEYS
        assert (row["scenario"], row["mode"]) == ("fanout", "latency")
        assert (row["lost"], row["corrupt"]) == (0, 0)
        assert 0 < row["first_p50_us"] <= row["last_p50_us"] <= row["last_p99_us"]
        assert row["messages_per_s"] == pytest.approx(rows[0]["messages_per_s"] * row["load"] * 20)
    assert rows[0]["of_limit"] == rows[0]["last_p99_us_of_limit"] == 1.0


def measured(streams: list[bytes], skipped: int = 0) -> dict[str, float]:
    """What the load generator says of clients that are sent these streams, due since a second."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("latency_load", listener.getsockname()[1], len(streams), SIZE, COUNT) as load,
    ):
        ends = [listener.accept()[0] for _ in streams]
        assert load.answer() == {"clients": len(streams)}
        started = monotonic() - 1
        for end, stream in zip(ends, streams, strict=True):
            end.sendall(stream)
        took = load.ask(f"finish {COUNT} {started} 1000000 {skipped}")
        for end in ends:
            end.close()
        return took


def test_latency_counts_from_when_a_message_was_due() -> None:
    took = measured([b"".join(FRAMES)] * 2)
    assert (took["lost"], took["corrupt"]) == (0, 0)
    assert 1e6 - COUNT <= took["first_p50_us"] <= took["last_p50_us"] <= took["last_p99_us"]
    assert took["busy_s"] > 0


def test_other_bytes_and_more_messages_are_corrupt() -> None:
    flipped = b"".join(FRAMES)[:-5] + b"~~~~\n"
    assert measured([flipped])["corrupt"] == 1
    assert measured([b"".join([*FRAMES, message(COUNT, SIZE), b"\n"])])["corrupt"] == 1


def test_a_server_that_leaves_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_load("latency_load", listener.getsockname()[1], 1, SIZE, COUNT) as load,
    ):
        listener.accept()[0].close()
        load.answer()
        with pytest.raises(BenchmarkError, match="the server closed a connection"):
            load.ask("finish 1 0 1 0")


def test_a_pace_hands_out_each_message_with_its_time() -> None:
    pace = Pace(SIZE, COUNT, 1000.0)
    handed = list(pace.due())
    assert [text + b"\n" for _, text in handed] == FRAMES
    assert [due - pace.started for due, _ in handed] == pytest.approx(
        [number / 1000 for number in range(COUNT)]
    )


def test_a_load_above_the_saturation_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fanout", "--mode", "latency", "--load", "101"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == "fanout: argument --load: '101' is not a whole number from 1 to 100\n"
