"""The fan-out benchmark: whole runs of the command, and the sink against servers that are wrong."""

import errno
import json
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from benchmarks.fanout_throughput import Setup, Throughput
from benchmarks.harness import brokers, build, processes
from benchmarks.harness.deliveries import Deliveries
from benchmarks.harness.errors import BenchmarkError, Unavailable
from benchmarks.harness.load import Load, message
from benchmarks.harness.machine import commit
from benchmarks.harness.processes import Partner, start_server, start_sink
from benchmarks.harness.rounds import Rounds, interleave
from benchmarks.harness.stats import median_ratio, spread
from benchmarks.harness.wire import LINES, NATS, RESP, ZMTP, Protocol, Wire
from benchmarks.peers.fanout import PEERS

ROOT = Path(__file__).parents[2]
KEYS = {
    *["scenario", "mode", "peer", "clients", "size", "seconds", "messages", "deliveries_per_s"],
    *["server_cpu_s", "us_per_delivery", "sink_cpu_share", "sink_bound", "lost", "corrupt"],
    *["verified_messages", "repeats", "spread", "when", "commit", "machine"],
    *[f"of_{peer.replace('-', '_')}" for peer in PEERS],
}
SIZE = 20
COUNT = 50
LINE = LINES.listen(SIZE)


def fanout(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.fanout", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)


def installed(peer: str) -> bool:
    """Whether a peer that nobody has to have is there."""
    match peer:
        case "redis":
            return brokers.program("redis-server") is not None
        case "nats":
            return brokers.program("nats-server") is not None
        case "zmq":
            return find_spec("zmq") is not None
    return True


@pytest.mark.parametrize(
    ("mode", "size", "peers"),
    [
        ("burst", "64", ["limit", "asyncio", "asyncio-joined"]),
        ("burst", "3", ["limit", "asyncio-joined"]),
        ("single", "1000", ["limit", "asyncio", "threads"]),
        ("burst", "300", ["zmq", "redis", "nats", "threads"]),
    ],
)
def test_every_peer_delivers_everything(mode: str, size: str, peers: list[str]) -> None:
    done = fanout(
        *["--clients", "7", "--seconds", "0.05", "--repeats", "1", "--json", "-"],
        *["--mode", mode, "--size", size, "--peers", ",".join(peers)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    rows = json.loads(done.stdout)
    absent = [peer for peer in peers if not installed(peer)]
    assert [row["peer"] for row in rows] == [peer for peer in peers if peer not in absent]
    for row in rows:
        assert set(row) == KEYS
        assert (row["scenario"], row["mode"]) == ("fanout", mode)
        assert (row["clients"], row["size"]) == (7, int(size))
        assert (row["lost"], row["corrupt"]) == (0, 0)
        assert min(row["messages"], row["verified_messages"]) > 0
        assert min(row["seconds"], row["deliveries_per_s"], row["us_per_delivery"]) > 0
        assert row["of_uvloop"] is None
        assert datetime.fromisoformat(row["when"]).tzinfo == UTC
        assert row["commit"] == commit() and "Python" in row["machine"]
    if "limit" in peers:
        assert rows[0]["of_limit"] == 1.0


def test_peers_that_cannot_take_part_are_named(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = fanout(
        *["--quick", "--clients", "3", "--seconds", "0.05", "--mode", "single"],
        *["--peers", "asyncio-joined,limit", "--json", str(results)],
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "asyncio-joined  is for burst only" in done.stdout
    assert "fanout, single: 3 clients, 64 bytes, 0.05 s, median of 1;" in done.stdout
    assert [row["peer"] for row in json.loads(results.read_text())] == ["limit"]


def test_a_missing_broker_is_told_with_the_command_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/no/such/directory")
    how = "not installed: apt install redis-server"
    with start_server("fanout", "redis") as server, pytest.raises(Unavailable, match=how):
        server.port(PEERS["redis"].install)


@pytest.mark.parametrize("end", ["ordered", "killed"])
def test_a_broker_ends_with_who_started_it(end: str) -> None:
    port = brokers.free_port()
    listen = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    owner = f"""
from benchmarks.harness import brokers
with brokers.running({listen}, {port}):
    print("up", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", owner], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        socket.create_connection(("127.0.0.1", port)).close()
        if end == "killed":
            process.kill()
        else:
            process.communicate(b"\n")
    wait_until(lambda: refused(port), "the broker is gone")


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_a_broker_that_does_not_come_up_is_told() -> None:
    with (
        pytest.raises(BenchmarkError, match="'false'.* does not accept connections at port"),
        brokers.running(["false"], brokers.free_port()),
    ):
        pass


def test_a_missing_package_is_told_by_the_server_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('uvloop is not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start_server("fanout", "uvloop") as server:
        assert server.answer() == {"missing": "uvloop is not here"}


def test_a_process_that_ends_is_reported_with_its_last_words() -> None:
    with start_server("fanout", "asyncio") as server:
        assert server.answer()["port"] > 0
        with pytest.raises(BenchmarkError, match="asyncio server ended: no such command: 'jump"):
            server.ask("jump")


def test_a_process_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "END_TIMEOUT", 0.1)
    with start_server("fanout", "asyncio") as server:
        server.answer()
        server.tell("accept 1")
        with pytest.raises(BenchmarkError, match="asyncio server gave no answer within 0.1 s"):
            server.answer(timeout=0.1)


def test_a_lost_message_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    setup = Setup("burst", clients=2, size=64)
    good = Deliveries(10, 20.0, 1.0, 0.5, 0.95, lost=0, corrupt=0)
    rounds = Rounds({"limit": replace(good, lost=1)}, {"limit": [good]}, {}, {"uvloop": "it died"})
    chosen = Namespace(json=None, repeats=1, seconds=1.0)
    assert Throughput().conclude(chosen, [(setup, rounds)]) == 1
    printed, errors = capsys.readouterr()
    assert "95% sink-bound" in printed
    assert errors.splitlines() == [
        "fanout: burst: 2 clients, 64 bytes: uvloop failed: it died",
        "fanout: burst: 2 clients, 64 bytes: limit: 1 lost, 0 corrupt",
    ]


def test_a_peer_that_fails_once_is_left_out() -> None:
    seen = []

    def run(peer: str, check: bool) -> str:
        seen.append((peer, check))
        if peer == "b" and not check:
            raise BenchmarkError("it died")
        return peer

    rounds = interleave(["a", "b"], 2, run, lambda what: None)
    assert seen == [("a", True), ("b", True), ("a", False), ("b", False), ("a", False)]
    assert (rounds.timed, rounds.failed) == ({"a": ["a", "a"]}, {"b": "it died"})


def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "folder", lambda: tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(BenchmarkError, match="'no-such-compiler' does not run .*: install gcc"):
        build.compiled("sink")


def test_in_a_read_only_clone_programs_are_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path / "not here, so nobody writes to it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert build.compiled("sink").is_relative_to(tmp_path / "cache" / "fastsock")


def test_nothing_measured_is_a_failure() -> None:
    done = fanout("--mode", "single", "--peers", "asyncio-joined", "--json", "-")
    assert (json.loads(done.stdout), done.returncode) == ([], 1)
    assert done.stderr == "fanout: no peer was measured\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--clients 0", "argument --clients: '0' is not a whole number from 1 to 10000"),
        ("--clients many", "argument --clients: 'many' is not a whole number from 1 to 10000"),
        ("--size 65536", "argument --size: '65536' is not a whole number from 1 to 65535"),
        ("--seconds nan", "argument --seconds: 'nan' is not a number of seconds from 0.01 to 3600"),
        ("--repeats -1", "argument --repeats: '-1' is not a whole number from 1 to 100"),
        ("--mode all", "argument --mode: invalid choice: 'all' (choose from 'burst', 'single', "),
        ("--peers limit,rabbit", "argument --peers: 'rabbit' is none of fastsock,limit,asyncio,"),
        ("--peers limit,limit", "argument --peers: 'limit' is named twice"),
        ("--json /no/such/file", "argument --json: cannot write '/no/such/file': No such file"),
        ("--client 5", "unrecognized arguments: --client 5"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments: str, complaint: str) -> None:
    done = fanout(*arguments.split())
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith(f"fanout: {complaint}")
    assert done.stderr.count("\n") == 1


@contextmanager
def receiving(clients: int, *, check: bool) -> Iterator[tuple[Partner, list[socket.socket]]]:
    """A sink, and the server's end of each of its connections."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_sink(
            listener.getsockname()[1], clients, SIZE, LINES.listen(SIZE), check=check
        ) as sink,
    ):
        ends = [listener.accept()[0] for _ in range(clients)]
        assert sink.answer() == {"clients": clients}
        yield sink, ends
        for end in ends:
            end.close()


def received(stream: bytes, *, check: bool = True) -> dict[str, Any]:
    """What the sink says of two clients: one that is sent the stream, one that is sent all."""
    with receiving(2, check=check) as (sink, ends):
        for end, data in zip(ends, (stream, b"".join(FRAMES)), strict=True):
            end.sendall(data)
            end.close()
        return sink.ask(f"finish {COUNT}")


FRAMES = [message(number, SIZE) + b"\n" for number in range(COUNT)]
ALL = b"".join(FRAMES)
FLIPPED = ALL[:215] + bytes([ALL[215] ^ 1]) + ALL[216:]


@pytest.mark.parametrize(
    ("stream", "lost", "corrupt"),
    [
        (ALL, 0, 0),
        (b"".join(FRAMES[:9] + FRAMES[10:]), 1, 0),
        (b"".join(FRAMES[3:]), 3, 0),
        (b"".join(FRAMES[:-4]), 4, 0),
        (b"", COUNT, 0),
        (FLIPPED, 0, 1),
        (b"".join(FRAMES[:9] + FRAMES[8:]), 0, 1),
        (ALL + FRAMES[0], 0, 1),
        (ALL + message(COUNT, SIZE) + b"\n", 0, 1),
        (b"".join([FRAMES[0], FRAMES[2], FRAMES[1], *FRAMES[3:]]), 1, 1),
        (ALL[:215] + ALL[216:], 0, 1),
        (ALL[:215] + b"\n" + ALL[215:], 0, 2),
        (ALL[:215] + b"x" * 1000 + ALL[215:], 0, 1),
        (ALL[:-1], 0, 1),
        (ALL[:-5], 0, 1),
    ],
)
def test_the_check_counts_what_is_lost_and_what_is_corrupt(
    stream: bytes, lost: int, corrupt: int
) -> None:
    counted = received(stream)
    assert (counted["lost"], counted["corrupt"]) == (lost, corrupt)
    assert counted["bytes"] == len(stream) + len(ALL)
    assert counted["bytes_min"] == min(len(stream), len(ALL))


@pytest.mark.parametrize(
    ("stream", "lost", "corrupt"),
    [(ALL, 0, 0), (ALL[: 21 * 30], 20, 0), (ALL[:-5], 0, 1), (ALL + FRAMES[0], 0, 1)],
)
def test_a_timed_run_counts_bytes(stream: bytes, lost: int, corrupt: int) -> None:
    counted = received(stream, check=False)
    assert (counted["lost"], counted["corrupt"]) == (lost, corrupt)


@pytest.mark.parametrize("size", [3, SIZE, 300])
@pytest.mark.parametrize("protocol", [RESP, NATS, ZMTP])
def test_what_encloses_a_message_is_checked_too(protocol: Protocol, size: int) -> None:
    wire = replace(protocol.listen(size), hello=b"hello", ready=b"ready", begin=b"begin")
    frames = [wire.head + message(number, size) + wire.tail for number in range(COUNT)]
    assert {len(frame) for frame in frames} == {wire.frame_len(size)}
    spoiled = bytes([frames[7][0] ^ 1]) + frames[7][1:]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_sink(listener.getsockname()[1], 1, size, wire, check=True) as sink,
    ):
        with listener.accept()[0] as end:
            assert end.recv(5, socket.MSG_WAITALL) == b"hello"
            end.sendall(b"are you ready")
            assert end.recv(5, socket.MSG_WAITALL) == b"begin"
            assert sink.answer() == {"clients": 1}
            end.sendall(b"".join([*frames[:3], *frames[4:7], spoiled, *frames[8:]]))
        counted = sink.ask(f"finish {COUNT}")
    assert (counted["lost"], counted["corrupt"]) == (1, 1)


def test_a_server_that_does_not_greet_is_told() -> None:
    wire = Wire(ready=b"ready", tail=b"\n")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        start_sink(listener.getsockname()[1], 1, SIZE, wire, check=True) as sink,
    ):
        listener.accept()[0].close()
        with pytest.raises(BenchmarkError, match="did not answer the handshake as expected"):
            sink.answer()


def test_the_sink_says_whether_all_has_come() -> None:
    with receiving(1, check=True) as (sink, [end]):
        end.sendall(b"".join(FRAMES[:2]))
        assert sink.ask("await 2") == {"reached": True}
        end.shutdown(socket.SHUT_WR)
        assert sink.ask("await 3") == {"reached": False}
        assert sink.ask("finish 3")["lost"] == 1


@pytest.mark.parametrize("check", [False, True])
def test_what_came_before_the_mark_is_not_counted(check: bool) -> None:
    with receiving(1, check=check) as (sink, [end]):
        end.sendall(b"".join(FRAMES[:2]))
        assert sink.ask("mark 2") == {"marked": 2}
        end.sendall(ALL[:3])
        end.sendall(ALL[3:])
        end.close()
        counted = sink.ask(f"finish {COUNT}")
    assert (counted["bytes"], counted["lost"], counted["corrupt"]) == (len(ALL), 0, 0)


def test_a_client_that_is_reset_has_lost_the_rest() -> None:
    with receiving(1, check=True) as (sink, [end]):
        end.sendall(FRAMES[0])
        assert sink.ask("mark 1") == {"marked": 1}
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.close()
        counted = sink.ask("finish 5")
    assert (counted["lost"], counted["corrupt"]) == (5, 0)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 64, 5000])
def test_messages_have_their_size_and_no_newline(size: int) -> None:
    messages = {message(number, size) for number in range(16)}
    assert len(messages) == 16
    assert {len(text) for text in messages} == {size}
    assert not any(b"\n" in text for text in messages)


@pytest.mark.parametrize("distinct", [False, True])
def test_a_load_counts_the_messages_that_it_hands_out(distinct: bool) -> None:
    load = Load(SIZE, 0.01, distinct=distinct)
    chunks = list(load.chunks(300))
    assert load.messages == 300 * len(chunks) > 0
    assert {len(chunk) for chunk in chunks} == {300}
    assert chunks[0][299] == message(299 if distinct else 299 % 256, SIZE)


def test_statistics() -> None:
    assert spread([8.0, 10.0, 12.0]) == 0.4
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == 3.0
    assert median_ratio([2.0], None) is None
