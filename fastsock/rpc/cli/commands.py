"""The command line of ``fastsock-rpc``."""

import json
import logging
import os
import re
import sys
from contextlib import suppress
from math import isnan
from time import perf_counter
from typing import Any, TypeVar

import click
import msgspec

from fastsock import FastsockError, _cli
from fastsock.core.activation import listen_fds
from fastsock.core.address import Address, check, show
from fastsock.rpc.cli import tables
from fastsock.rpc.client.connector import Connector
from fastsock.rpc.client.route import FixedRoute
from fastsock.rpc.client.settings import Settings
from fastsock.rpc.describe.definitions import Description
from fastsock.rpc.describe.described import DescribedMethod, as_json
from fastsock.rpc.describe.stub_text import stub_text
from fastsock.rpc.interface import Service
from fastsock.rpc.matchmaker.service import DEFAULT_PORT, Matchmaker
from fastsock.rpc.server.builtin import Builtins
from fastsock.rpc.server.server import serve
from fastsock.rpc.stub import connect

__all__ = ["run"]

TOKEN_VARIABLE = "FASTSOCK_RPC_TOKEN"
TOKEN_BYTES_MAX = 4096

CONNECT_TIMEOUT = 5.0
CALL_TIMEOUT = 10.0
"""Seconds for what should come at once: a description, a list, a round trip."""

BODY_BYTES_MAX = 1 << 20
"""Of calls to the matchmaker: a registration has a few hundred bytes."""

Plain = tuple[str, int] | str
S = TypeVar("S", bound=Service)


NOT_ASCII = re.compile("[^\x00-\x7f]")


class Seconds(click.FloatRange):
    """A number of seconds within a range; click lets NaN through, which is in none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; click's BadParameter if it is none or outside of the range."""
        number = float(super().convert(value, param, ctx))
        if isnan(number):
            self.fail(f"{value!r} is not in the range {self._describe_range()}", param, ctx)
        return number


class CommandError(Exception):
    """What ends a command with status 1; its text is the line that the user reads."""


def run() -> int:
    """Runs the command line; returns the exit status. Errors are one line on stderr."""
    return _cli.run("fastsock-rpc", cli, (CommandError, FastsockError))


@click.group(no_args_is_help=False)
@click.version_option(package_name="fastsock")
def cli() -> None:
    """Remote procedure calls: find servers, look at them, and call them.

    ADDRESS is HOST:PORT, or the path of a UNIX socket, with a slash in it. What a server asks for
    is read from the environment variable FASTSOCK_RPC_TOKEN or from --token-file, and never from
    the command line, which others can see.
    """


def _address(text: str) -> Plain:
    """HOST:PORT, [HOST]:PORT, a path or @NAME."""
    host, colon, port = text.rpartition(":")
    try:
        if "/" in text or text.startswith("@"):
            return check(text)
        if not colon or not port.isdecimal() or not port.isascii():
            raise ValueError(f"{text!r} is neither HOST:PORT nor a path with a slash nor @NAME")
        return check((host.removeprefix("[").removesuffix("]"), int(port)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


address_argument = click.argument("address", type=_address)
token_option = click.option(
    "--token-file",
    metavar="PATH",
    help=f"Read the token from this file, not from ${TOKEN_VARIABLE}.",
)
json_option = click.option("--json", "plain_json", is_flag=True, help="Print JSON.")


def _token(token_file: str | None) -> str:
    """The token of the file, without white space around it, or of the environment."""
    if token_file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if any("\ud800" <= each <= "\udfff" for each in token):
            raise CommandError(f"{TOKEN_VARIABLE} is not UTF-8")
        return token
    try:
        with open(token_file, "rb") as opened:
            token = opened.read(TOKEN_BYTES_MAX + 1).decode().strip()
    except OSError as error:
        raise CommandError(f"--token-file {token_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"--token-file {token_file}: it is not UTF-8") from None
    if not 0 < len(token) <= TOKEN_BYTES_MAX:
        most = f"1 to {TOKEN_BYTES_MAX} characters"
        raise CommandError(f"--token-file {token_file}: it must hold a token of {most}")
    return token


@cli.command()
@click.option(
    "--listen",
    multiple=True,
    type=_address,
    metavar="ADDRESS",
    help="Listen on HOST:PORT, a path or @NAME, instead of --host and --port; may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--lease",
    default=4.0,
    show_default=True,
    type=Seconds(0.1, 3600),
    help="Seconds after which a server that does not renew its registration is forgotten.",
)
@token_option
def matchmaker(
    listen: tuple[Plain, ...], host: str, port: int, lease: float, token_file: str | None
) -> None:
    """Run a matchmaker, which tells clients where the servers are.

    Prints `listening on HOST:PORT` for each address, and ends with SIGTERM or Ctrl-C. Started by a
    socket unit of systemd (LISTEN_FDS), it listens on that unit's sockets. Servers register with
    rpc.serve(..., matchmaker=(HOST, PORT)), clients ask with rpc.connect(..., matchmaker=...).
    With a token, servers and clients need the same one.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    token = _token(token_file)
    try:
        handed = list(listen_fds())
        own: list[Address] | None = list(listen) or (None if handed else [(host, port)])
        served = serve(
            Matchmaker(lease=lease),
            own,
            fd=handed or None,
            token=token,
            body_bytes_max=BODY_BYTES_MAX,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with served as server, suppress(_cli.Stopped):  # Being stopped is how it ends well.
        for address in server.addresses:
            print(f"listening on {show(address)}")
        sys.stdout.flush()
        server.wait()


@cli.command("list")
@click.argument("address", type=_address, default=f"127.0.0.1:{DEFAULT_PORT}")
@json_option
@token_option
def list_(address: Plain, plain_json: bool, token_file: str | None) -> None:
    """List the servers that the matchmaker at ADDRESS knows.

    Without a terminal a line for each: service, version, addresses, host, process, seconds since
    it registered, seconds until its lease ends, with tabs between them.
    """
    with _connect(Matchmaker, address, _token(token_file)) as found:
        listed = list(found.instances())
    if plain_json:
        _print_json(listed)
    else:
        tables.show_instances(listed)


@cli.command()
@address_argument
@json_option
@token_option
def describe(address: Plain, plain_json: bool, token_file: str | None) -> None:
    """Show the service at ADDRESS: its methods with their types and docstrings."""
    description = _describe(address, _token(token_file))
    if plain_json:
        _print_json(description)
    else:
        tables.show_description(description)


@cli.command()
@address_argument
@token_option
def stub(address: Plain, token_file: str | None) -> None:
    """Print a typed interface class of the service at ADDRESS, to save and import.

    The module that is printed needs fastsock, and holds the types that the methods use.
    """
    sys.stdout.write(stub_text(_describe(address, _token(token_file))))


@cli.command()
@address_argument
@click.argument("method")
@click.argument("arguments", default="[]")
@click.option("--timeout", default=30.0, show_default=True, type=Seconds(0.001, 1e9), metavar="S")
@token_option
def call(
    address: Plain, method: str, arguments: str, timeout: float, token_file: str | None
) -> None:
    """Call METHOD of the service at ADDRESS, and print its result as JSON.

    ARGUMENTS is a JSON list, as in '[1, 2]', or an object for keywords. A method that streams
    prints a line for each item. Bytes are base64, arrays are lists.
    """
    token = _token(token_file)
    given = _read_arguments(arguments)
    description = _describe(address, token)
    try:
        described = DescribedMethod(description, method)
        values = described.arguments(given)
        msgspec.msgpack.encode(values, enc_hook=lambda value: None)
    except (ValueError, OverflowError, RecursionError) as error:
        raise click.UsageError(str(error)) from None
    settings = Settings(timeout=timeout, connect_timeout=CONNECT_TIMEOUT, token=token)
    interface = described.interface(description)
    connector = Connector(settings, interface, FixedRoute(address))
    try:
        _call(connector, described, values)
    finally:
        connector.close()


def _call(connector: Connector, described: DescribedMethod, values: tuple[Any, ...]) -> None:
    signature = connector.interface.methods[described.method.name]
    if described.method.stream:
        for item in connector.stream(signature, values, {}):
            _print_json(item)
            sys.stdout.flush()
        return
    result = connector.call(signature, values, {})
    if not described.method.oneway:
        _print_json(result)


def _read_arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"ARGUMENTS must be JSON, as '[1, 2]': {error}") from None


@cli.command()
@address_argument
@click.option("-c", "--count", default=1000, show_default=True, type=click.IntRange(1, 10_000_000))
@token_option
def ping(address: Plain, count: int, token_file: str | None) -> None:
    """Measure round trips to the server at ADDRESS, whatever it serves."""
    seconds = []
    with _connect(Builtins, address, _token(token_file)) as server:
        for _ in range(count):
            begun = perf_counter()
            server.rpc_ping()
            seconds.append(perf_counter() - begun)
    seconds.sort()
    print(f"{count} round trips to {show(address)}, in microseconds")
    for name, share in (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        print(f"{name} {1e6 * seconds[min(int(share * count), count - 1)]:.1f}")


# ---- What the commands share ----


def _connect(interface: type[S], address: Plain, token: str) -> S:
    return connect(
        interface, address, token=token, timeout=CALL_TIMEOUT, connect_timeout=CONNECT_TIMEOUT
    )


def _describe(address: Plain, token: str) -> Description:
    with _connect(Builtins, address, token) as server:
        return server.rpc_describe()


def _print_json(value: Any) -> None:
    """As one line, in which whatever could control a terminal is escaped as JSON does it."""
    try:
        text = as_json(value)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise CommandError(f"the result is no JSON: {error}") from None
    text = _cli.UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    if "utf" not in sys.stdout.encoding.lower():
        text = NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    print(text)
