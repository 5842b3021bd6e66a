"""Kernels and seccomp profiles that refuse system calls: a preloaded library plays them."""

import re

import preload
import pytest

pytest_plugins = ["peers.fixtures"]

ENOSYS, EPERM = "38", "1"
SERVE = """
import asyncio, time
from fastsock import Client, Message, MultiServer, SingleServer, rpc

HERE = ("127.0.0.1", 0)

def in_a_thread():
    with MultiServer(HERE, relay="all").start() as server:
        with Client.connect(server.address) as client:
            server.wait_connections(1, timeout=20)
            client.send(b"hello")
            assert client.recv(timeout=20) == b"hello"
            server.broadcast(b"to all")
            server.drain(timeout=20)
            assert client.recv(timeout=20) == b"to all"

def inline():
    with MultiServer(HERE, linger=0.2) as server:
        for timeout in (0.002, 0.15):
            begun = time.monotonic()
            assert server.poll(timeout=timeout) == []
            assert time.monotonic() - begun >= timeout
        with Client.connect(server.address) as client:
            client.send(b"hello")
            assert next(each.data for each in server if isinstance(each, Message)) == b"hello"

async def in_a_loop():
    with MultiServer(HERE, linger=0) as server:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        def handle():
            if any(isinstance(each, Message) for each in server.poll(timeout=0)):
                heard.set()
        loop.add_reader(server.fileno(), handle)
        with Client.connect(server.address) as client:
            client.send(b"hello")
            await asyncio.wait_for(heard.wait(), 20)
        loop.remove_reader(server.fileno())

def single():
    with SingleServer(HERE) as server, Client.connect(server.address) as client:
        conn = server.accept(timeout=20)
        with Client.connect(server.address) as second:
            assert second.recv(timeout=20).startswith(b"refused")
        conn.send(b"hello")
        assert client.recv(timeout=20) == b"hello"

class Adder(rpc.Service):
    @rpc.method
    def add(self, a: int, b: int) -> int:
        return a + b

def remote():
    with rpc.serve(Adder(), HERE) as server, rpc.connect(Adder, server.address) as adder:
        assert [adder.add(n, n) for n in range(9)] == [2 * n for n in range(9)]

"""
ALL = "in_a_thread(); inline(); asyncio.run(in_a_loop()); single(); remote(); print('served')"
OPEN = """
from fastsock import MultiServer
try:
    MultiServer(("127.0.0.1", 0))
except OSError as error:
    print(error.errno, error.strerror)
"""
NEEDS = {
    "epoll_create1": "epoll_create1, which Linux has since 2.6.27,",
    "eventfd": "eventfd2, which Linux has since 2.6.27,",
    "timerfd_create": "timerfd_create, which Linux has since 2.6.25,",
    "memfd_create": "memfd_create, which Linux has since 3.17,",
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return preload.build("lacking", tmp_path_factory.mktemp("lacking"))


def run(programs, library, calls, error, *command):
    env = preload.environment(library, LACKING=calls, LACKING_ERRNO=error)
    return programs.python(*command, env=env)


@pytest.mark.parametrize("error", [ENOSYS, EPERM], ids=["ENOSYS", "EPERM"])
def test_everything_works_without_epoll_pwait2(programs, library, error):
    program = run(programs, library, "epoll_pwait2", error, "-c", SERVE + ALL)
    assert (program.wait(), program.out, program.err) == (0, "served\n", "")


@pytest.mark.parametrize("error", [ENOSYS, EPERM], ids=["ENOSYS", "EPERM"])
@pytest.mark.parametrize("call", NEEDS)
def test_a_call_that_is_missing_is_named_when_the_server_opens(programs, library, call, error):
    program = run(programs, library, call, error, "-c", OPEN)
    assert program.wait() == 0, program.err
    told = re.sub(rf"^{error} cannot listen on 127\.0\.0\.1:\d+: ", "", program.out)
    needed = f"a server needs {NEEDS[call]} and this kernel, or a seccomp profile, refuses it: "
    assert told.startswith(needed)
    assert told.count("\n") == 1


def test_without_epoll_pwait2_the_timer_is_needed(programs, library):
    program = run(programs, library, "epoll_pwait2,timerfd_create", ENOSYS, "-c", OPEN)
    assert program.wait() == 0, program.err
    assert "needs timerfd_create, which" in program.out


def test_the_command_says_it_in_one_line(programs, library):
    command = ("-m", "fastsock.chat", "server")
    program = run(programs, library, "memfd_create", EPERM, *command)
    assert program.wait() == 1
    assert program.out == ""
    assert program.err.count("\n") == 1
    assert "a server needs memfd_create" in program.err


def test_one_client_is_served_without_any_of_them(programs, library):
    calls = ",".join(("epoll_pwait2", *NEEDS))
    program = run(programs, library, calls, ENOSYS, "-c", SERVE + "single(); print('served')")
    assert (program.wait(), program.out, program.err) == (0, "served\n", "")
