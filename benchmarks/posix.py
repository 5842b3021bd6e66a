"""What a call of the POSIX layer costs: `python -m benchmarks.posix --help`.

Each case compares fastsock with the socket module and, where there is one, with the same loop in
C, on the same sockets: posix_cases.py. The contenders take turns in an order that changes; ratios
are taken within a round, and medians over the rounds.
"""

import argparse
import json
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any

import numpy as np

from benchmarks.harness import options, table
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.stats import median_ratio
from benchmarks.posix_cases import CASES, LOOP_C, STANDARD, Case, fast, tcp
from fastsock import posix

ROUNDS_MIN = 5
LARGE = 8 << 20


def timed(case: Case, contender: str) -> float:
    """The seconds of one round of a contender; BenchmarkError if it moved other bytes."""
    case.before()
    begun = perf_counter()
    took = case.contenders[contender]()
    if not isinstance(took, float):
        took = perf_counter() - begun
    if case.after() != case.expected:
        raise BenchmarkError(f"{case.name}: {contender} moved other bytes than it should")
    return took


def measure(case: Case, seconds: float) -> dict[str, list[float]]:
    """The times of every contender in each round, for as long and ROUNDS_MIN rounds at least."""
    times: dict[str, list[float]] = {name: [] for name in case.contenders}
    for name in times:
        timed(case, name)
    end = monotonic() + seconds
    order = list(times)
    while monotonic() < end or len(times[STANDARD]) < ROUNDS_MIN:
        random.shuffle(order)  # in a fixed order each would always pay for the caches of another
        for name in order:
            times[name].append(timed(case, name))
    return times


def rows(case: Case, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A JSON row for each contender; a ratio above 1 is faster than what it is compared with."""
    found = []
    for name, own in times.items():
        target = case.targets.get(name)
        ratio = median_ratio(times[case.reference], own)
        found.append(
            {
                "scenario": "posix",
                "case": case.name,
                "contender": name,
                "ns_per_operation": median(own) * 1e9 / case.count,
                "of_socket": median_ratio(times[STANDARD], own),
                "of_c": median_ratio(times[LOOP_C], own) if LOOP_C in times else None,
                "target": target,
                "target_of": case.reference if target else None,
                "reached": ratio >= target if target and ratio else None,
                "rounds": len(own),
            }
        )
    return found


# ---- Memory ----


def resident(what: str) -> int:
    """VmRSS (now) or VmHWM (highest) of this process in bytes: proc_pid_status(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) * 1024
    raise BenchmarkError(f"the kernel does not tell {what}")


def growth(call: Callable[[], object]) -> int:
    """By how many bytes the resident memory grew at most while the call ran."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew: proc_pid_clear_refs(5)
    before = resident("VmRSS")
    call()
    return max(0, resident("VmHWM") - before)


def memory() -> list[dict[str, Any]]:
    """What a send of 8 MB of numpy needs in user space, beside the array; TCP."""
    data = np.arange(LARGE // 8, dtype=np.int64)
    received = np.zeros_like(data)
    first, second = tcp()

    def receive() -> None:
        view = memoryview(received).cast("B")
        while view:
            view = view[posix.recv_into(second.fileno(), view, min(len(view), 1 << 18)) :]

    def sent(call: Callable[[], object]) -> int:
        received.fill(0)
        thread = threading.Thread(target=receive)
        thread.start()
        grown = growth(call)
        thread.join()
        if not np.array_equal(received, data):
            raise BenchmarkError("8 MB of numpy did not arrive as they were sent")
        return grown

    with first, second, fast(first) as twin:
        contenders: dict[str, Callable[[], object]] = {
            "posix.send": lambda: posix.send(first.fileno(), data),
            "Socket.sendall": lambda: twin.sendall(data),
            "socket.sendall(array.tobytes())": lambda: first.sendall(data.tobytes()),
        }
        for call in contenders.values():
            sent(call)  # the thread's stack and the like are there from now on
        return [
            {"scenario": "posix-memory", "contender": name, "bytes": LARGE, "grown": sent(call)}
            for name, call in contenders.items()
        ]


# ---- The command ----


def cases(text: str) -> list[str]:
    """An argument type: names of cases with commas between them."""
    names = text.split(",")
    for name in names:
        if name not in CASES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(CASES)}")
    return names


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = options.Parser(prog="posix", description=__doc__, allow_abbrev=False)
    parser.add_argument("--cases", type=cases, default=list(CASES), metavar="A,B,...")
    parser.add_argument("--seconds", type=options.seconds, metavar="S", help="a case (default 1)")
    parser.add_argument("--json", type=options.json_file, metavar="FILE|-")
    parser.add_argument("--quick", action="store_true", help="--seconds 0.05")
    chosen = parser.parse_args(argv)
    chosen.seconds = chosen.seconds or (0.05 if chosen.quick else 1.0)
    return chosen


def show(results: list[dict[str, Any]], memories: list[dict[str, Any]], seconds: float) -> None:
    """Prints a table; below it, what sending 8 MB took in memory."""
    headings = ["case", "contender", "ns", "x socket", "x C", "target"]
    lines = [
        [
            row["case"] if row["contender"] == STANDARD else "",
            row["contender"],
            table.digits(row["ns_per_operation"]),
            table.digits(row["of_socket"]),
            table.digits(row["of_c"]),
            _target(row),
        ]
        for row in results
    ]
    notes = {
        row["contender"]: f"takes {row['grown'] / 1e6:.2f} MB of memory to send 8.39 MB of numpy"
        for row in memories
    }
    title = f"posix: ns for each operation, medians; {seconds:g} s a case, in turns"
    table.show(title, headings, lines, notes)


def _target(row: dict[str, Any]) -> str:
    if row["target"] is None:
        return ""
    of = "C" if row["target_of"] == LOOP_C else "socket"
    return f"{row['target']:g} x {of} {'reached' if row['reached'] else 'missed'}"


def main(argv: list[str] | None = None) -> int:
    """Returns 0, or 1 if a contender moved other bytes than it should."""
    chosen = parse(argv)
    results: list[dict[str, Any]] = []
    try:
        with table.progress(len(chosen.cases) + 1) as report:
            for name in chosen.cases:
                report(name)
                with CASES[name]() as case:
                    results += rows(case, measure(case, chosen.seconds))
            report("memory")
            memories = memory()
    except BenchmarkError as error:
        print(f"posix: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("posix: interrupted", file=sys.stderr)
        return 130
    if chosen.json:
        text = json.dumps(results + memories, indent=1) + "\n"
        sys.stdout.write(text) if chosen.json == "-" else Path(chosen.json).write_text(text)
    if chosen.json != "-":
        show(results, memories, chosen.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
