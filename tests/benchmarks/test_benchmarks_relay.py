"""The relay benchmark: whole runs of the command, and its speaker against a server that answers."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.load import message
from benchmarks.harness.processes import start_speaker
from benchmarks.harness.wire import LINES, NATS, RESP, ZMTP, Protocol
from benchmarks.peers.relay import PEERS

ROOT = Path(__file__).parents[2]
SIZE = 1000
KEYS = {
    *["scenario", "peer", "clients", "size", "seconds", "messages", "deliveries_per_s"],
    *["server_cpu_s", "us_per_delivery", "sink_cpu_share", "sink_bound", "lost", "corrupt"],
    *["verified_messages", "repeats", "spread", "when", "commit", "machine"],
    *[f"of_{peer.replace('-', '_')}" for peer in PEERS],
}


def relay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.relay", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


@pytest.mark.parametrize(
    "peers",
    [
        ["fastsock", "limit", "asyncio-joined"],
        ["asyncio", "uvloop", "threads"],
        ["zmq", "redis", "nats"],
    ],
)
def test_every_peer_relays_everything(peers: list[str]) -> None:
    done = relay(
        *["--clients", "3", "--size", str(SIZE), "--seconds", "0.02", "--repeats", "1"],
        *["--peers", ",".join(peers), "--json", "-"],
    )
    rows = json.loads(done.stdout)
    nothing = "relay: no peer was measured\n"
    assert (done.stderr, done.returncode) in (("", 0), (nothing, 1))
    assert not set(peers) - {row["peer"] for row in rows} - {"uvloop", "zmq", "redis", "nats"}
    for row in rows:
        assert set(row) == KEYS
        assert (row["scenario"], row["clients"], row["size"]) == ("relay", 3, SIZE)
        assert (row["lost"], row["corrupt"]) == (0, 0)
        assert min(row["messages"], row["verified_messages"], row["us_per_delivery"]) > 0


def test_a_missing_broker_is_named_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin/no")
    done = relay(
        "--quick", "--clients", "1", "--seconds", "0.02", "--peers", "redis,asyncio-joined"
    )
    assert f"redis  not installed: {PEERS['redis'].install}" in done.stdout
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--clients 0", "argument --clients: '0' is not a whole number from 1 to 10000"),
        ("--size 1,x", "argument --size: 'x' is not a whole number from 1 to 65535"),
        ("--peers c", "argument --peers: 'c' is none of fastsock,limit,asyncio,asyncio-joined,"),
        ("--mode burst", "unrecognized arguments: --mode burst"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: str, complaint: str) -> None:
    done = relay(*arguments.split())
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith(f"relay: {complaint}")
    assert done.stderr.count("\n") == 1


def answered(end: socket.socket, word: bytes, answer: bytes) -> bytes:
    """All that is said until the stream ends; each time the word is said, it is answered."""
    said, answers = b"", 0
    while part := end.recv(1 << 16):
        said += part
        due = said.count(word) if word else 0
        end.sendall(answer * (due - answers))
        answers = due
    return said


@pytest.mark.parametrize(
    ("protocol", "word", "answer"),
    [
        (LINES, b"", b""),
        (ZMTP, b"", b""),
        (RESP, b"PUBLISH", b":3\r\n"),
        (NATS, b"PING", b"PONG\r\n"),
    ],
)
def test_a_speaker_speaks_its_protocol(protocol: Protocol, word: bytes, answer: bytes) -> None:
    wire = protocol.speak(SIZE)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_speaker(listener.getsockname()[1], protocol.name, SIZE) as speaker,
    ):
        with listener.accept()[0] as end:
            hello = end.recv(len(wire.hello), socket.MSG_WAITALL) if wire.hello else b""
            assert hello == wire.hello
            if wire.ready:
                end.sendall(b"before" + wire.ready + b"behind")
            assert speaker.answer() == {"ready": True}
            speaker.tell("say 0.01 1")
            speaker.end()
            said = answered(end, word, answer)
        count = speaker.answer()["messages"]
    frames = [wire.head + message(number, SIZE) + wire.tail for number in range(count)]
    assert count > 0
    if protocol.request:
        said = said.replace(protocol.request, b"")
    assert said == b"".join(frames)


def test_a_server_that_leaves_before_it_answers_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_speaker(listener.getsockname()[1], "nats", SIZE) as speaker,
    ):
        listener.accept()[0].close()
        with pytest.raises(BenchmarkError, match="speaker ended: .*closed|speaker ended: .*reset"):
            speaker.answer()
