"""Who drives a server, and what others may do meanwhile."""

import _thread
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable

import pytest
from conftest import WAIT, read_exactly
from peers.process import Programs

from fastsock import Message, MultiServer

pytest_plugins = ["peers.fixtures"]

Serve = Callable[..., MultiServer]
Dial = Callable[[MultiServer], socket.socket]


def in_threads(count: int, work: Callable[[], None]) -> list[Exception]:
    """What work raises, run in so many threads at once."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return errors


def test_several_threads_drain_a_server_that_nobody_drives(serve: Serve, dial: Dial) -> None:
    server = serve()
    peers = [dial(server) for _ in range(5)]

    def wait() -> None:
        for _ in range(50):
            server.wait_connections(5, timeout=WAIT)
            server.broadcast(b"x" * 1000)
            server.drain(timeout=WAIT)

    assert in_threads(4, wait) == []
    for peer in peers:
        assert len(read_exactly(peer, 200 * 1001)) == 200 * 1001


def test_waiting_beside_a_loop_does_not_end_it(serve: Serve, dial: Dial) -> None:
    server = serve()
    peer = dial(server)
    done = threading.Event()
    errors: list[list[Exception]] = []

    def drain() -> None:
        for _ in range(500):
            server.drain(timeout=WAIT)

    def waits() -> None:
        try:
            errors.append(in_threads(2, drain))
        finally:
            done.set()

    waiting = threading.Thread(target=waits)
    waiting.start()
    said = heard = 0
    while not done.is_set():
        peer.sendall(b"x\n")
        said += 1
        for event in server.poll(timeout=WAIT):
            heard += isinstance(event, Message)
    waiting.join(WAIT)
    while heard < said:
        heard += sum(isinstance(event, Message) for event in server.poll(timeout=WAIT))
    assert errors == [[]]


def test_closing_beside_a_loop_ends_it(serve: Serve, dial: Dial) -> None:
    server = serve()
    dial(server)
    server.wait_connections(1, timeout=WAIT)
    closing = threading.Thread(target=server.close)
    closing.start()
    kinds = [type(event).__name__ for event in server]
    closing.join(WAIT)
    assert kinds == ["Connected", "Disconnected"]


def test_drain_takes_no_messages(serve: Serve, dial: Dial) -> None:
    server = serve()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    peer.sendall(b"hello\n" * 100)
    server.broadcast(b"x")
    server.drain(timeout=WAIT)
    assert server.stats().messages_received == 0
    heard = 0
    while heard < 100:
        heard += sum(isinstance(event, Message) for event in server.poll(timeout=WAIT))


def test_an_interrupt_in_a_turn_loses_no_message(serve: Serve, dial: Dial) -> None:
    server = serve()
    peer = dial(server)
    server.poll(timeout=WAIT)

    def interrupt() -> None:
        # No real signal: nothing ends the wait before the message does.
        _thread.interrupt_main()
        peer.sendall(b"hello\n")

    thread = threading.Timer(0.1, interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        server.poll(timeout=WAIT)
    thread.join()
    (event,) = server.poll(timeout=WAIT)
    assert isinstance(event, Message)


def test_waiting_needs_no_descriptor(serve: Serve, dial: Dial) -> None:
    server = serve(log_bytes=1 << 16, message_bytes_max=4096, slow_policy="block").start()
    peer = dial(server)
    server.wait_connections(1, timeout=WAIT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    reader = threading.Thread(target=read_exactly, args=(peer, 10_000 * 1001))
    reader.start()
    try:
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        assert highest > 3
        for _ in range(10_000):
            server.broadcast(b"x" * 1000, timeout=WAIT)
        server.drain(timeout=WAIT)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    reader.join(WAIT)


WAITS = {
    "inline": "for event in server: pass",
    "poll": "server.poll()",
    "handlers": "server.serve_forever()",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_a_signal_that_another_thread_takes_is_heard(programs: Programs, wait: str) -> None:
    """As one that comes while the turn sends: no system call of the driver is interrupted."""
    program = programs.python(
        "-c",
        f"""
import signal, threading
from fastsock import MultiServer

threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
with MultiServer(("127.0.0.1", 0), linger=0) as server:
    try:
        print("ready", flush=True)
        {wait}
    except KeyboardInterrupt:
        print("heard", flush=True)
""",
    )
    program.expect("ready")
    program.interrupt(signal.SIGINT)
    program.expect("heard")
    assert program.wait() == 0
