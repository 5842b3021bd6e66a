"""What an import brings along, and what can be imported where the kernel is not Linux."""

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastsock

pytest_plugins = ["peers.fixtures"]

ROOT = Path(fastsock.__file__).parent
LAZY = ("fastsock", "fastsock.client", "fastsock.posix", "fastsock.rpc")
HEAVY = (
    "asyncio",
    "click",
    "logging.config",
    "multiprocessing",
    "numpy",
    "prompt_toolkit",
    "rich",
    "ssl",
    "subprocess",
)
SHOW = "import sys; print(*sys.modules)"
SERVICE = """
from fastsock import rpc

class Adder(rpc.Service):
    @rpc.method
    def add(self, a: int, b: int) -> int:
        return a + b
"""
PROGRAMS = {
    "fastsock": "import fastsock",
    "server and client": "from fastsock import Client, Connected, MultiServer, SingleServer",
    "rpc": "import fastsock.rpc",
    "service": SERVICE,
    "calls": SERVICE
    + """
with rpc.serve(Adder()) as server, rpc.connect(Adder, server.address) as adder:
    assert adder.add(1, 2) == 3
""",
}


def imported(programs, source):
    program = programs.python("-c", f"{source}\n{SHOW}")
    assert program.wait() == 0, program.err
    return set(program.out.split())


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=PROGRAMS)
def test_nothing_heavy_is_imported_before_it_is_used(programs, source):
    assert imported(programs, source).isdisjoint(HEAVY)


def test_importing_fastsock_imports_hardly_anything(programs):
    bare = imported(programs, "import collections.abc, importlib")  # as a .pth file does, or not
    more = imported(programs, "import fastsock") - bare
    assert len(more) < 12, sorted(more)


@pytest.mark.parametrize("name", LAZY)
def test_type_checkers_see_the_names_that_there_are(name):
    package = importlib.import_module(name)
    stub = Path(package.__file__).with_suffix(".pyi").read_text()
    typed = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            typed |= {alias.name: node.module for alias in node.names}
    assert sorted(typed) == package.__all__
    for each, home in typed.items():
        if each != "posix":
            assert getattr(package, each) is getattr(importlib.import_module(home), each)
    assert set(package.__all__) <= set(dir(package))


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="module 'fastsock' has no attribute 'Sever'"):
        _ = fastsock.Sever
    assert fastsock.__version__


# ---- Without Linux ----

ELSEWHERE = """
import os, select, socket, sys, sysconfig

sysconfig.get_config_vars()  # by the real name of the platform
sys.platform = "darwin"
for module, names in {
    select: "epoll EPOLLIN",
    os: "eventfd eventfd_write eventfd_read memfd_create pipe2 O_DIRECT O_NOATIME O_PATH",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK MSG_NOSIGNAL MSG_CONFIRM MSG_ERRQUEUE MSG_MORE"
            " MSG_FASTOPEN MSG_CMSG_CLOEXEC TCP_USER_TIMEOUT AF_PACKET AF_NETLINK",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

class NotBuilt:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotBuilt())
"""
TALK = """
import socket, threading
import fastsock
from fastsock import Client, ConnectionClosed, Endpoint

with socket.create_server(("127.0.0.1", 0)) as listener:
    with Client.connect(listener.getsockname()[:2], timeout=20) as client:
        peer = listener.accept()[0]
        client.send(b"hello")
        assert peer.recv(100) == b"hello\\n"
        peer.sendall(b"welcome\\n")
        assert client.recv(timeout=20) == b"welcome"
        peer.close()
"""
SERVE = """
with rpc.serve(Adder()) as server:
    print("port", server.address[1], flush=True)
    server.wait()
"""
REFUSED = """
import fastsock
from fastsock import rpc
for make in (lambda: fastsock.MultiServer(("127.0.0.1", 0)), lambda: rpc.serve(None),
             lambda: fastsock.posix.sendmmsg):
    try:
        make()
    except ImportError as error:
        print(error)
"""


def setup():
    """setup.py as a module."""
    path = ROOT.parent / "setup.py"
    spec = importlib.util.spec_from_file_location("fastsock_setup", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def not_built():
    """The extension modules that are made on Linux alone."""
    found = (str(path.relative_to(ROOT.parent)) for path in ROOT.rglob("*.pyx"))
    linux = [name for name in found if name.startswith(setup().LINUX_ONLY)]
    return ",".join(name.removesuffix(".pyx").replace("/", ".") for name in linux)


def elsewhere(programs, source):
    return programs.python("-c", ELSEWHERE + source, not_built())


def test_a_client_works_elsewhere(programs):
    program = elsewhere(programs, TALK)
    assert (program.wait(), program.err) == (0, "")


def test_a_stub_calls_from_elsewhere(programs):
    server = programs.python("-c", SERVICE + SERVE)
    port = server.expect("port ").rpartition(" ")[2]
    source = SERVICE + f'with rpc.connect(Adder, ("127.0.0.1", {port})) as it: print(it.add(1, 2))'
    program = elsewhere(programs, source)
    assert (program.wait(), program.out, program.err) == (0, "3\n", "")


def test_a_server_elsewhere_says_that_it_needs_linux(programs):
    program = elsewhere(programs, REFUSED)
    assert (program.wait(), program.err) == (0, "")
    told = "clients work here, fastsock.Client and rpc.connect"
    names = ("fastsock.MultiServer", "fastsock.rpc.serve", "fastsock.posix.sendmmsg")
    wanted = [f"{name} needs Linux, and this is darwin: {told}" for name in names]
    assert program.out.splitlines() == wanted


def test_every_extension_module_is_named_as_portable_or_not():
    names = not_built().split(",")
    assert "fastsock.server._engine" in names
    assert "fastsock.client._endpoint" not in names
    for prefix in setup().LINUX_ONLY:
        assert any(re.match(prefix.replace("/", r"\."), name) for name in names), prefix
    assert sys.platform != "linux" or len(setup().sources()) == len([*ROOT.rglob("*.pyx")])


def test_the_c_of_clients_is_plain_posix():
    """It compiles without what only Linux and GNU have; nobody has tried it on another system."""
    linked = setup().LINKED
    elsewhere = linked.keys() - set(not_built().split(","))
    portable = {file for name in elsewhere for file in linked[name]}
    compiler = os.environ.get("CC", "cc").split()
    flags = ("-std=c11", "-DFS_PLAIN_POSIX", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror")
    for file in sorted(portable):
        command = [*compiler, *flags, "-Icsrc", "-M", file]
        done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True)
        used = re.findall(r"(sys/epoll|sys/eventfd|sys/timerfd|linux/futex|netpacket)", done.stdout)
        assert used == [], file
        command = [*compiler, *flags, "-Icsrc", "-fsyntax-only", file]
        done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True)
        assert done.stderr == ""
