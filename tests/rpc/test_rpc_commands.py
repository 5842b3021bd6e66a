"""``fastsock-rpc`` against real servers: honest ones, and ones that lie."""

import ast
import importlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections import OrderedDict, deque
from contextlib import ExitStack
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Interface
from pathlib import Path

import msgspec
import pytest
import rpc_store
from conftest import WAIT
from peers.process import PYTHON, ROOT
from rpc_store import Store

from fastsock import net, rpc
from fastsock.rpc.describe.annotations import WrongDescription
from fastsock.rpc.describe.definitions import Description, Field, describe
from fastsock.rpc.describe.stub_text import stub_text
from fastsock.rpc.interface import interface_of
from fastsock.rpc.matchmaker.service import Matchmaker

pytest_plugins = ["peers.fixtures"]

RPC = (*PYTHON, "-m", "fastsock.rpc")
MATCHMAKER = ("matchmaker", "--port", "0")


@pytest.fixture
def closing():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve_rpc(closing):
    def make(service, address=("127.0.0.1", 0), **options):
        return closing.enter_context(rpc.serve(service, address, linger=0.2, **options))

    return make


@pytest.fixture
def run(programs):
    """Runs fastsock-rpc to its end; returns its exit status, stdout and stderr."""

    def run_it(*arguments, **environment):
        env = {**os.environ, "PYTHONPATH": ROOT, **environment}
        process = programs.start(*RPC, *map(str, arguments), env=env)
        return process.wait(), process.out, process.err

    return run_it


def address_of(server):
    return "{}:{}".format(*server.address)


def good(result):
    """The output of a command that ended well."""
    status, out, err = result
    assert (status, err) == (0, ""), result
    return out


def bad(result, status, message):
    """A command that failed as it should: with one line, and nothing else."""
    assert result[:2] == (status, ""), result
    assert result[2].startswith("fastsock-rpc: ") and result[2].count("\n") == 1, result
    assert message in result[2], result


# ---- matchmaker and list ----


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_matchmaker_ends_with_a_signal(programs, signum):
    matchmaker = programs.start(*RPC, *MATCHMAKER)
    matchmaker.expect("listening on 127.0.0.1:")
    matchmaker.interrupt(signum)
    assert matchmaker.wait() == 0
    assert matchmaker.err == ""


def test_a_matchmaker_listens_at_several_addresses(programs, run, tmp_path):
    path = tmp_path / "matchmaker"
    matchmaker = programs.start(*RPC, "matchmaker", "--listen", "127.0.0.1:0", "--listen", path)
    where = matchmaker.expect("listening on 127.0.0.1:").removeprefix("listening on ")
    matchmaker.expect(f"listening on {path}")
    for each in where, path:
        assert good(run("list", each)) == ""


def test_a_matchmaker_listens_on_the_sockets_that_it_was_started_with(programs, run, tmp_path):
    path = tmp_path / "matchmaker"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        start = (
            "import os, sys;"
            f"os.dup2({sock.fileno()}, 3);"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
            "os.execv(sys.executable, [sys.executable, '-m', 'fastsock.rpc', 'matchmaker'])"
        )
        os.set_inheritable(sock.fileno(), True)
        process = subprocess.Popen(
            [sys.executable, "-c", start], close_fds=False, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout.readline() == f"listening on {path}\n"
            assert good(run("list", path)) == ""
        finally:
            process.terminate()
            process.communicate(timeout=WAIT)
    assert process.returncode == 0


def test_servers_are_listed(programs, run, serve_rpc):
    matchmaker = programs.start(*RPC, *MATCHMAKER)
    where = matchmaker.expect("listening on ").removeprefix("listening on ")
    assert good(run("list", where)) == ""
    host, _, port = where.rpartition(":")
    server = serve_rpc(Store(), matchmaker=(host, int(port)))
    line = good(run("list", where)).rstrip("\n").split("\t")
    assert line[:3] == ["Store", "2", address_of(server)]
    assert line[4] == str(os.getpid())
    (listed,) = json.loads(good(run("list", "--json", where)))
    assert listed["instance"]["incarnation"] == server.incarnation.hex()


def test_a_port_that_is_taken(run, serve_rpc):
    port = serve_rpc(Store()).address[1]
    bad(run("matchmaker", "--port", port), 1, "Address already in use")


def test_a_token_keeps_strangers_out(programs, run, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    matchmaker = programs.start(*RPC, *MATCHMAKER, "--token-file", str(secret))
    where = matchmaker.expect("listening on ").removeprefix("listening on ")
    bad(run("list", where), 1, f"{where}: a token is needed")
    bad(run("list", where, FASTSOCK_RPC_TOKEN="s3cre"), 1, f"{where}: the token is wrong")
    assert good(run("list", where, FASTSOCK_RPC_TOKEN="s3cret")) == ""
    assert good(run("list", where, "--token-file", secret)) == ""


def test_token_files_that_hold_none(run, tmp_path):
    empty, binary, large = (tmp_path / name for name in ("empty", "binary", "large"))
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe")
    large.write_text("x" * 5000)
    bad(run("list", "--token-file", tmp_path / "nope"), 1, "No such file or directory")
    bad(run("list", "--token-file", tmp_path), 1, "Is a directory")
    bad(run("list", "--token-file", empty), 1, "it must hold a token")
    bad(run("list", "--token-file", binary), 1, "it is not UTF-8")
    bad(run("list", "--token-file", large), 1, "it must hold a token")


# ---- describe, ping, call ----


def test_a_result_is_json_in_any_encoding(run, serve_rpc):
    class Echo(rpc.Service):
        @rpc.method
        def echo(self, text: str) -> str:
            return text

    where = address_of(serve_rpc(Echo()))
    text = '["\\u2192 \\ud83d\\ude00"]'
    out = good(run("call", where, "echo", text, PYTHONIOENCODING="latin-1"))
    assert out == text[1:-1] + "\n"
    bad(run("call", where, "echo", '["\\ud800"]'), 2, "surrogates not allowed")
    bad(run("call", where, "echo", '["\udcff"]'), 2, "surrogates not allowed")
    bad(run("call", where, "echo", f"[{1 << 70}]"), 2, "can't serialize ints")


def test_a_service_is_described(run, serve_rpc):
    where = address_of(serve_rpc(Store()))
    out = good(run("describe", where))
    assert out.startswith("Store version 2\n    A store.\n")
    assert (
        "get(id: UserId, color: Color = Color.BLUE, *, level: Level = Level.LOW) -> Item\n" in out
    )
    assert "    An item of that number.\n" in out
    assert "-> dict[int, tuple[Item, ...]]  (idempotent; raises Overdrawn, KeyError)\n" in out
    assert "    tags: list[str] = []\n" in out
    described = json.loads(good(run("describe", "--json", where)))
    assert [each["name"] for each in described["methods"]][:2] == ["double", "fail"]


def test_a_unix_socket_is_an_address(run, serve_rpc, tmp_path):
    path = str(tmp_path / "socket")
    serve_rpc(Store(), path)
    assert good(run("call", path, "list", "[[1]]")) == '["red"]\n'


def test_ping_measures_round_trips(run, serve_rpc):
    out = good(run("ping", address_of(serve_rpc(Store())), "-c", "20")).splitlines()
    assert out[0].startswith("20 round trips to 127.0.0.1:")
    figures = dict(line.split() for line in out[1:])
    assert list(figures) == ["min", "p50", "p90", "p99", "max"]
    assert sorted(map(float, figures.values())) == list(map(float, figures.values()))


CALLS = [
    ("list", "[[1, 2]]", '["red","red"]'),
    ("get", '{"id": 7, "level": 2}', '"amountCents":2'),
    ("get", "[7]", '"color":"blue"'),
    ("get", '[7, "red"]', '"color":"red"'),
    ("tree", '[{"value": 1}, 2]', '{"value":1,"children":[]}\n{"value":1,"children":[]}\n'),
    ("mean", "[[1, 2], [3]]", '"4.5"'),
    ("double", "[[[1, 2], [3, 4]]]", "[[2,4],[6,8]]"),
    ("join", '["YQ==", {"10": "Yw==", "9": "Yg=="}, {"data": "ZA=="}]', '"YWJjZA=="'),
    ("join", '["YQ==", {}, {"data": null}]', '"YQ=="'),
    ("log", '["x"]', ""),
    ("put", '[[], {"wanted": []}, [1, 2]]', '{"0":[]}'),
]


@pytest.mark.parametrize("method, arguments, result", CALLS)
def test_a_method_is_called(run, serve_rpc, method, arguments, result):
    out = good(run("call", address_of(serve_rpc(Store())), method, arguments))
    assert result in out and out.count("\n") == max(result.count("\n"), bool(result))


WRONG_CALLS = [
    ("nope", "[]", 2, "Store has no method 'nope'; it has double, fail, get"),
    ("get", "[]", 2, "get() needs id: UserId"),
    ("get", "[1, 2, 3, 4]", 2, "get() takes at most 3 arguments, not 4"),
    ("get", '{"id": 1, "x": 2}', 2, "get() has no parameter x"),
    ("get", "7", 2, "arguments are a JSON list, or an object"),
    ("get", "[1", 2, "ARGUMENTS must be JSON"),
    ("get", '["a"]', 1, "Expected `int`, got `str`"),
    ("join", '["?", {}, {}]', 2, "data: bytes"),
    ("join", '["YQ==", {"x": "YQ=="}, {}]', 2, "by: dict[int, bytes]"),
    ("join", '["YQ==", {}]', 2, "join() needs more: Dated"),
    ("put", '[[], {"wanted": []}, [-1, 0]]', 1, "Overdrawn: -1.0"),
    ("mean", '[["x"], []]', 2, "x: NDArray[float64]"),
    ("fail", '["a\\nb\\u001b[31m"]', 1, "ValueError: a b\\x1b[31m"),
]


@pytest.mark.parametrize("method, arguments, status, message", WRONG_CALLS)
def test_a_call_that_cannot_be(run, serve_rpc, method, arguments, status, message):
    where = address_of(serve_rpc(Store()))
    bad(run("call", where, method, arguments), status, message)


def test_a_call_ends_in_time(run, serve_rpc):
    class Sleeper(rpc.Service):
        @rpc.method
        def sleep(self) -> None:
            rpc.current().wait_cancelled(30)

    where = address_of(serve_rpc(Sleeper()))
    bad(run("call", where, "sleep", "--timeout", "1"), 1, "sleep did not end in time")


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["list", "localhost"], 2, "'localhost' is neither HOST:PORT nor a path with a slash"),
        (["list", "localhost:"], 2, "is neither HOST:PORT nor a path"),
        (["list", "localhost:99999"], 2, "port must be from 0 to 65535, not 99999"),
        (["list", ":80"], 2, "host must not be empty"),
        (["describe", "/" + "x" * 200], 2, "at most 107 bytes"),
        (["describe", "./nope"], 1, "cannot connect to ./nope: No such file or directory"),
        (["describe"], 2, "Missing argument 'ADDRESS'"),
        (["ping", "127.0.0.1:1", "-c", "0"], 2, "0 is not in the range"),
        (["call", "127.0.0.1:1", "x", "--timeout", "0"], 2, "0.0 is not in the range"),
        (["matchmaker", "--lease", "nan"], 2, "'--lease': 'nan' is not in the range 0.1<=x<=3600"),
        (["matchmaker", "--host", "no such host"], 1, "unknown host 'no such host'"),
        (["matchmaker", "--token", "x"], 2, "No such option"),
        (["nope"], 2, "No such command 'nope'"),
        ([], 2, "Missing command"),
    ],
)
def test_wrong_usage_is_one_line(run, arguments, status, message):
    bad(run(*arguments), status, message)


def test_nobody_is_there(run):
    where = f"127.0.0.1:{net.free_port()}"
    for command in (["list"], ["describe"], ["stub"], ["ping"]):
        bad(run(*command, where), 1, f"cannot connect to {where}: Connection refused")
    bad(run("call", where, "x"), 1, f"cannot connect to {where}: Connection refused")


def test_a_server_that_is_no_matchmaker(run, serve_rpc):
    where = address_of(serve_rpc(Store()))
    bad(run("list", where), 1, f"{where}: it serves Store version 2, not fastsock.Matchmaker")


# ---- Terminals ----


def in_terminal(programs, *arguments):
    """What the command shows in a terminal."""
    master, slave = pty.openpty()
    try:
        process = programs.start(*RPC, *arguments, stdout=slave)
        os.close(slave)
        shown = b""
        while data := _read(master):
            shown += data
        assert process.wait() == 0, process.err
    finally:
        os.close(master)
    return shown.decode()


def _read(descriptor):
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # EIO: the other side is closed.
        return b""


class Hostile(rpc.Service):
    """\x1b]0;owned\x07 \u202e reversed"""

    rpc_name = "Hostile\x1b[2J"

    @rpc.method
    def say(self, text: str) -> str:
        """\x1b[31m red \x9b31m [bold]markup[/bold]"""
        return text + "\x7f\x9b\u202e"


def plain(shown):
    """Without the colours that the command itself makes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_a_description_does_not_steer_the_terminal(programs, serve_rpc):
    shown = in_terminal(programs, "describe", address_of(serve_rpc(Hostile())))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", plain(shown))
    assert "\\x1b[31m red \\x9b31m [bold]markup[/bold]" in plain(shown)


def test_a_list_is_a_table_in_a_terminal_and_does_not_steer_it(programs, serve_rpc):
    matchmaker = serve_rpc(Matchmaker())
    where = address_of(matchmaker)
    assert "no servers are registered" in in_terminal(programs, "list", where)
    serve_rpc(Hostile(), matchmaker=matchmaker.address)
    shown = plain(in_terminal(programs, "list", where))
    assert "Hostile" in shown and "version" in shown
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", shown)


def test_a_result_does_not_steer_the_terminal(run, serve_rpc):
    out = good(run("call", address_of(serve_rpc(Hostile())), "say", '["\\u001b"]'))
    assert out == '"\\u001b\\u007f\\u009b\\u202e"\n'
    assert json.loads(out) == "\x1b\x7f\x9b\u202e"


# ---- stub ----


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Saves a source as a module and imports it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def save_and_import(text):
        (tmp_path / "made_store.py").write_text(text)
        return importlib.import_module("made_store")

    yield save_and_import
    sys.modules.pop("made_store", None)


@pytest.fixture
def made(run, serve_rpc, imported):
    """The module that `stub` prints of a Store, and the server."""
    server = serve_rpc(Store())
    return imported(good(run("stub", address_of(server)))), server


def test_a_written_stub_calls_its_server(made, closing):
    module, server = made
    store = closing.enter_context(rpc.connect(module.Store, server.address))
    item = store.get(7, module.Color.RED, level=module.Level.HIGH)
    expected = module.Item("it", uuid.UUID(int=7), module.Money(2), color=module.Color.RED)
    assert item == expected
    assert store.put([item], {"wanted": [item, item]}, module.Point(0)) == {2: (item,)}
    with pytest.raises(module.Overdrawn):
        store.put([], {"wanted": []}, module.Point(-1))
    leaf = module.Tree(2)
    assert list(store.tree(module.Tree(1, [leaf]), 2)) == [module.Tree(1, [leaf])] * 2
    assert store.list([1]) == [module.Color.RED]
    assert store.join(b"a", {2: b"c", 1: b"b"}, module.Dated(when=_when(), data=b"d")) == b"abcd"


def _when():
    return rpc_store.datetime.datetime(2020, 1, 1)


def test_a_written_stub_says_what_the_service_says(made):
    module, _ = made
    theirs = describe(interface_of(module.Store))
    ours = describe(interface_of(Store))
    assert [each.digest for each in theirs.methods] == [each.digest for each in ours.methods]
    assert (theirs.service, theirs.version, theirs.doc) == ("Store", "2", "A store.")
    assert module.Item.__doc__ == rpc_store.Item.__doc__.replace("\n    ", "\n")


def test_the_matchmaker_itself_can_be_written_down(imported):
    module = imported(stub_text(describe(interface_of(Matchmaker))))
    assert module.Matchmaker.rpc_name == "fastsock.Matchmaker"


class Shelf(rpc.Service):
    @rpc.method
    def put(self, path: Path, size: Fraction, at: complex) -> OrderedDict[IPv4Network, Path]:
        raise NotImplementedError

    @rpc.method
    def hosts(self, value: deque[IPv6Interface]) -> None:
        raise NotImplementedError


def test_types_of_the_standard_library_can_be_written_down(imported):
    ours = interface_of(Shelf)
    theirs = interface_of(imported(stub_text(describe(ours))).Shelf)
    for name, method in ours.methods.items():
        assert theirs.methods[name].digest == method.digest
        assert theirs.methods[name].types == method.types


PAYLOADS = [
    "x\nimport os; open('owned', 'w')",
    "x: int = open('owned', 'w')",
    "open('owned', 'w')",
    "x); open('owned', 'w'",
    "'''\nopen('owned', 'w')\n'''",
    '"""\nopen("owned", "w")\n"""',
    "\\",
    "\\'; open('owned', 'w') #",
    "[open('owned', 'w') for _ in (1,)]",
    "Literal[open('owned', 'w')]",
    "Annotated[int, open('owned', 'w')]",
    "Annotated[int, msgspec.Meta(gt=open('owned', 'w'))]",
    "f'{open(0)}'",
    "frozen=open('owned', 'w')",
    "frozen=True), (metaclass=open('owned', 'w')",
    "Color.__class__",
    "Color.RED",
    "lambda: 0",
    "class",
    "__import__",
    "__init__",
    "ｏpen",
    "self",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "\x00",
    "",
    "((" * 400,
    "-" * 1500 + "1",
    "9" * 1900,
]


def leaves(value, path=()):
    """The path of each text in a description."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from leaves(each, (*path, number))
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))


def changed(description, path, text):
    """The description with another text there."""
    built = msgspec.to_builtins(description)
    at = built
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = text
    return msgspec.convert(built, Description)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_nothing_that_a_server_says_becomes_code(payload, tmp_path, monkeypatch):
    """Each text of a description is replaced: what is written down does nothing when imported."""
    monkeypatch.chdir(tmp_path)
    honest = describe(interface_of(Store))
    written = 0
    for path in leaves(msgspec.to_builtins(honest)):
        try:
            text = stub_text(changed(honest, path, payload))
        except WrongDescription as error:
            assert len(str(error)) < 300
            continue
        written += 1
        called = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if _is_call(node)}
        assert called <= HARMLESS, path
    assert not (tmp_path / "owned").exists()
    assert written > 0, "docstrings take any text"


HARMLESS = {
    "dataclasses.dataclass",
    "dataclasses.field",
    "msgspec.Meta",
    "rpc_.method",
    "typing.NewType",
}


def _is_call(node):
    return isinstance(node, ast.Call)


def test_a_hostile_server_gets_one_line(run, serve_rpc, monkeypatch):
    """By the real way: over the wire, into the command."""
    honest = describe(interface_of(Store))
    hostile = changed(honest, ("methods", 0, "name"), "x(): pass\nimport os #")
    monkeypatch.setattr("fastsock.rpc.server.builtin.describe", lambda interface: hostile)
    where = address_of(serve_rpc(Store()))
    bad(run("stub", where), 1, r"a name that is none in Python: 'x(): pass\nimport os #'")
    bad(run("call", where, "list"), 2, "list() needs x: list[int]")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.types.append(d.types[0]), "several types of one name"),
        (lambda d: setattr(d.types[0], "name", "int"), "the name of Python's int"),
        (lambda d: setattr(d.types[0], "kind", "Thing"), "unknown kind: 'Thing'"),
        (lambda d: setattr(d, "service", "no name"), "a name that is none in Python"),
        (lambda d: d.methods[0].raises.append("SystemExit"), "raises what it does not describe"),
        (lambda d: setattr(d.methods[0], "result", "Strange"), "does not describe: Strange"),
        (lambda d: setattr(d.methods[0], "name", "rpc_name"), "cannot have the name rpc_name"),
        (
            lambda d: d.methods[0].parameters.extend([Field("x", "int")] * 2),
            "makes no Python",
        ),
    ],
)
def test_descriptions_that_cannot_be_written_down(change, message):
    description = describe(interface_of(Store))
    change(description)
    with pytest.raises(WrongDescription, match=re.escape(message)):
        stub_text(description)


def test_names_of_the_service_that_modules_have_too(imported):
    """Modules then go by other names."""
    description = describe(interface_of(Store))
    names = ("abc", "builtins", "dataclasses", "msgspec", "np", "npt", "rpc", "typing", "enum")
    for method, name in zip(description.methods, names, strict=True):
        method.name = name
    module = imported(stub_text(description))
    assert set(names) <= set(interface_of(module.Store).methods)
