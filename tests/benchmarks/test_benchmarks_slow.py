"""The slow benchmark: whole runs of the command, and what it makes of its two parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.deliveries import Deliveries
from benchmarks.peers.slow import PEERS, POLICIES
from benchmarks.slow import Part, Run

ROOT = Path(__file__).parents[2]
PEER_KEYS = [f"of_{peer}" for peer in PEERS]
KEYS = {
    *["scenario", "policy", "clients", "stuck", "size", "peer", "kept", "kept_flowing", "pause_s"],
    *["deliveries_per_s", "alone_deliveries_per_s", "growth_bytes", "dropped", "seconds"],
    *["messages", "sink_cpu_share", "sink_bound", "lost", "corrupt", "verified_messages"],
    *["repeats", "spread", "when", "commit", "machine"],
    *PEER_KEYS,
    *[f"deliveries_per_s_{key}" for key in PEER_KEYS],
}


def slow(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.slow", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_others_lose_nothing_under_each_policy(policy: str) -> None:
    done = slow(
        *["--policy", policy, "--clients", "4", "--size", "20000", "--seconds", "0.1"],
        *["--repeats", "1", "--peers", "fastsock,asyncio", "--json", "-"],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = {row["peer"]: row for row in json.loads(done.stdout)}
    assert list(rows) == [peer for peer in ("fastsock", "asyncio") if takes(peer, policy)]
    for row in rows.values():
        assert set(row) == KEYS
        assert (row["scenario"], row["policy"]) == ("slow", policy)
        assert (row["clients"], row["stuck"], row["size"]) == (4, 1, 20000)
        assert (row["lost"], row["corrupt"]) == (0, 0)
        assert 0 < row["kept"] <= row["kept_flowing"]
        assert row["growth_bytes"] >= 0


def takes(peer: str, policy: str) -> bool:
    modes = PEERS[peer].modes
    return modes is None or policy in modes


def part(rate: float, pause_s: float, growth_bytes: int, lost: int, dropped: int) -> Part:
    others = Deliveries(100, rate * 10, 10.0, 1.0, 0.5, lost=lost, corrupt=0)
    return Part(others, pause_s, growth_bytes, dropped)


def test_a_share_is_kept_of_what_the_others_have_alone() -> None:
    alone, beside = part(1000.0, 0.01, 4000, 1, 0), part(800.0, 2.0, 5000, 9, 7)
    run = Run(alone, beside)
    assert (run.kept, run.kept_flowing) == (pytest.approx(0.8), pytest.approx(1.0))
    assert (run.growth_bytes, run.pause_s) == (1000, 2.0)
    assert (run.dropped, run.lost) == (7, 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--policy drop", "argument --policy: 'drop' is none of disconnect,drop_oldest,block"),
        ("--clients 1", "argument --clients: '1' is not a whole number from 2 to 10000"),
        ("--peers c", "argument --peers: 'c' is none of fastsock,asyncio,uvloop,redis,nats"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: str, complaint: str) -> None:
    done = slow(*arguments.split())
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr == f"slow: {complaint}\n"
