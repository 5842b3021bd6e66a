"""Gives every numeric parameter of a public module numbers that nobody means.

Argument: the module. Prints how many parameters there are, and each call that was neither refused
in words nor done: an OverflowError, say, or a wait for a time that is none. The parameters are
found by their annotations; a new one whose function needs an argument of a new name fails here
until ``arguments`` knows a value for it.
"""

import ast
import asyncio  # noqa: F401 - what a call would import takes long, and an alarm ends it
import contextlib
import faulthandler
import importlib
import inspect
import os
import re
import signal
import socket
import sys
import tempfile
from array import array
from pathlib import Path

import numpy  # noqa: F401

import fastsock
from fastsock import fifo, posix, rpc
from fastsock.rpc.matchmaker.service import Matchmaker

INF = float("inf")
ODD = (float("nan"), INF, -INF, -1, 0, 1e-300, 1e300, 2**31, 2**32, 2**63, 2**64, 1 << 200)
ODD += (True, "1", None, 0.5)
TIMES = ("float", "float | None")
LONG = {
    repr(value) for value in (INF, 1e300, 2**31, 2**32, 2**63, 2**64, 1 << 200, True, None, 0.5)
}
"""Times in which waiting is right."""
NEVER = {repr(value) for value in (float("nan"), -INF, -1, "1")}
"""Times that are refused, whether or not there is something to wait for."""
HERE = ("127.0.0.1", 0)
WAIT_SECONDS = 0.02
"""Whether a wait is right is not asked: so long is enough."""
ENDLESS_SECONDS = 5.0
SECONDS_MAX = 160
NUMBER = re.compile(r"\b(int|float)\b")
CONTAINER = re.compile(r"\b(tuple|list|dict|set|Callable|Mapping|Iterable|Iterator|Sequence)\[.*\]")
IN_WORDS = re.compile(
    r"bytes-like|is for|must|one of|needs|takes|no room|None or|a descriptor|unsupported|integer"
)
STANDARD = {"create_connection", "create_server", "socketpair", "Socket.__init__"}
"""What is the socket module's, whose errors it raises."""


class Waited(BaseException):
    """The call did not end at once."""


class Slow(rpc.Service):
    @rpc.method
    def wait(self) -> None:
        rpc.current().wait_cancelled()


def alarm(*_):
    raise Waited


# ---- What there is ----


def functions(module):
    """The public functions of a module: their names, owners, and what they are."""
    defined = [name for name, found in vars(module).items() if inspect.isclass(found)]
    for name in getattr(module, "__all__", defined):
        found = getattr(module, name)
        if inspect.isclass(found):
            yield from methods(found)
        elif callable(found) and getattr(found, "__module__", "").startswith("fastsock"):
            yield name, None, found


def methods(kind):
    if issubclass(kind, BaseException | int | str):
        return
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        owner = next(base for base in kind.__mro__ if name in vars(base))
        if not owner.__module__.startswith("fastsock"):
            continue
        if callable(found) or isinstance(found, classmethod):
            if f"{kind.__name__}.{name}" in STANDARD:
                continue
            if name == "__init__" and kind.__name__ in MADE:
                yield name, kind, kind
            elif not name.startswith("_"):
                yield name, kind, getattr(kind, name)


def numbers(function, kind):
    """The numeric parameters of a function, by the annotations in its stub or source."""
    shown = getattr(getattr(kind, function, None), "__signature__", None)
    if shown:  # it takes the fields of a dataclass
        kinds = {
            each.name: inspect.formatannotation(each.annotation)
            for each in shown.parameters.values()
        }
        return lambda found: _numeric(kinds)
    owner = kind and next(base for base in kind.__mro__ if function in vars(base))
    module = owner.__module__ if owner else None
    return lambda found: _annotated(module or found.__module__, owner and owner.__name__, function)


def _annotated(module, owner, name):
    source = Path(importlib.import_module(module).__file__.split(".")[0])
    source = source.with_suffix(".pyi" if source.with_suffix(".pyi").exists() else ".py")
    body = ast.parse(source.read_text()).body
    if owner:
        [body] = [node.body for node in body if getattr(node, "name", "") == owner]
    kinds = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                kinds[each.arg] = ast.unparse(each.annotation) if each.annotation else ""
    return _numeric(kinds)


def _numeric(kinds):
    plain = {name: CONTAINER.sub("", kind) for name, kind in kinds.items()}
    return {name: kind for name, kind in plain.items() if NUMBER.search(kind)}


# ---- What it is called with ----


class Scene:
    """Objects to call, and arguments to call them with."""

    def __init__(self, stack):
        self.stack = stack
        self.path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.server = self.keep(fastsock.MultiServer(HERE, linger=0))
        self.client = self.keep(fastsock.Client.connect(self.server.address, linger=0))
        self.conn = next(iter(self.server)).conn
        self.conn.send(b"hello")
        self.server.flush()
        self.datagrams = self.keep(fastsock.Socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.datagrams.bind(HERE)
        self.datagrams.connect(self.datagrams.getsockname())
        self.datagrams.setblocking(False)
        self.fd = self.datagrams.fileno()
        self.pair = [self.keep(each) for each in socket.socketpair()]

    def keep(self, thing):
        self.stack.callback(lambda: quietly(thing.close))
        return thing

    def arguments(self, function):
        """Good values for what a function needs."""
        known = {
            "fd": self.fd, "out_fd": self.fd, "in_fd": self.fd, "fds": array("i", [self.fd]),
            "data": b"x", "messages": [b"x"], "buffer": bytearray(8), "conn": self.conn,
            "buffers": [bytearray(8)], "lengths": array("q", [8]), "path": self.path / "fifo",
            "events": posix.POLLIN, "level": socket.SOL_SOCKET, "option": socket.SO_RCVBUF,
            "value": 1, "command": 3,
            "how": socket.SHUT_WR, "family": socket.AF_INET, "type": socket.SOCK_DGRAM,
            "offset": 0, "count": 0, "count_max": 1, "size": 1, "name": "channel",
            "number": 1, "seconds": 1.0, "service": Slow(), "interface": Slow,
            "address": HERE, "kind": 1, "flags": 0, "body": b"\xc0",
            "socket": self.pair[0],
        }  # fmt: skip
        if function.__name__ == "poll" and "fds" in inspect.signature(function).parameters:
            known["fds"] = [(self.fd, posix.POLLIN)]
        if function.__name__ == "send_gathered":
            known["messages"] = [[b"x"]]
        if function.__name__ == "connect":
            known["address"] = self.address_of(function)
        needed = () if function is fastsock.Gap else inspect.signature(function).parameters.values()
        given = {"conn": self.conn, "channel": ""} if function is fastsock.Gap else {}
        if "linger" in [each.name for each in needed]:
            given["linger"] = 0
        if function in (fastsock.MultiServer, fastsock.SingleServer):
            given["address"] = HERE  # or a socket, but somewhere
        return given | {
            each.name: known[each.name]
            for each in needed
            if each.default is each.empty
            and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
            and each.name != "self"
        }

    def address_of(self, function):
        if function is posix.connect:
            return self.datagrams.getsockname()
        if function is rpc.connect:
            return self.keep(rpc.serve(Slow(), linger=0)).address
        return self.server.address


def _call(scene):
    server = scene.keep(rpc.serve(Slow(), linger=0))
    return scene.keep(rpc.connect(Slow, server.address)).wait.begin()


MADE = {
    "MultiServer": lambda scene: scene.server,
    "SingleServer": lambda scene: scene.keep(fastsock.SingleServer(HERE, linger=0)),
    "Client": lambda scene: scene.client,
    "Endpoint": lambda scene: scene.client,
    "Socket": lambda scene: scene.datagrams,
    "Connection": lambda scene: scene.conn,
    "Channel": lambda scene: scene.server.channel("news"),
    "Connected": lambda scene: fastsock.Connected(scene.conn),
    "Disconnected": lambda scene: fastsock.Disconnected(scene.conn, fastsock.Reason.PEER),
    "Message": lambda scene: fastsock.Message(scene.conn, b"x"),
    "Gap": lambda scene: fastsock.Gap(scene.conn, "", 1),
    "FifoReader": lambda scene: scene.keep(fifo.FifoReader(scene.path / "reader")),
    "FifoWriter": lambda scene: scene.keep(fifo.FifoWriter(scene.path / "writer")),
    "Splitter": lambda scene: fifo.Splitter(),
    "Gate": lambda scene: scene.keep(fifo.Gate()),
    "Server": lambda scene: scene.keep(rpc.serve(Slow(), linger=0)),
    "Matchmaker": lambda scene: Matchmaker(),
    "Call": _call,
    "Context": lambda scene: rpc.Context("", "wait", {}, None),
}
"""How to have an object of a class whose methods have numeric parameters."""


def quietly(close):
    with contextlib.suppress(Exception):
        close()


def used(result):
    """Does what a result is for, and closes it."""
    if hasattr(result, "__enter__") and not isinstance(result, fastsock.SingleServer):
        with result:
            pass
    elif hasattr(result, "close") or inspect.iscoroutine(result):
        result.close()


def fault(function, given, kind, value):
    """What is wrong with how a call takes a value; None if it is right."""
    may_wait = kind in TIMES and repr(value) in LONG
    limit = WAIT_SECONDS if may_wait else ENDLESS_SECONDS
    signal.setitimer(signal.ITIMER_REAL, limit, limit)
    try:
        used(function(**given))
        return "it is taken" if kind in TIMES and repr(value) in NEVER else None
    except Waited:
        return None if may_wait else "it waits"
    except (ValueError, TypeError) as error:
        told = str(error)
        return None if IN_WORDS.search(told) and " C " not in told else repr(error)
    except (OSError, fastsock.FastsockError):
        return None
    except BaseException as error:
        return repr(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def check(name, kind, found, out):
    """Tries all parameters of one function; returns how many it has."""
    parameters = numbers(name, kind)(found)
    for parameter, annotation in parameters.items():
        for value in ODD:
            with contextlib.ExitStack() as stack:
                scene = Scene(stack)
                target = found
                if kind and not inspect.isclass(found) and not inspect.ismethod(found):
                    target = getattr(MADE[kind.__name__](scene), name)
                given = scene.arguments(target) | {parameter: value}
                wrong = fault(target, given, annotation, value)
            if wrong:
                where = f"{kind.__name__}.{name}" if kind else name
                print(f"{where}({parameter}={value!r:.30}): {wrong}", file=out, flush=True)
    return len(parameters)


def main(module):
    out = os.fdopen(os.dup(1), "w")
    errors = os.fdopen(os.dup(2), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    faulthandler.enable(errors)
    faulthandler.dump_traceback_later(SECONDS_MAX, exit=True, file=errors)
    signal.signal(signal.SIGALRM, alarm)
    sys.excepthook = lambda *error: print(repr(error[1]), file=out, flush=True)
    count = 0
    for name, kind, found in functions(importlib.import_module(module)):
        if module == "fastsock" and name in STANDARD:
            continue
        count += check(name, kind, found, out)
    print("parameters", count, file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
