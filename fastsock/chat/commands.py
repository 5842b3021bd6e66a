"""The command line of ``fastsock-chat``."""

import ipaddress
import os
import socket
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import click

from fastsock import Client, FastsockError, MultiServer, SingleServer, _cli, net
from fastsock.chat import network_commands
from fastsock.chat.client_side import ClientConversation
from fastsock.chat.conversation import Conversation
from fastsock.chat.screen import LINGER, STDIN, ChatError, PlainScreen, Screen, in_background
from fastsock.chat.server_side import MESSAGE_BYTES_MAX, ServerConversation
from fastsock.chat.single_side import SingleConversation
from fastsock.chat.text import END, printable
from fastsock.core.address import show
from fastsock.fifo import FifoReader, FifoWriter

__all__ = ["run"]

CONNECT_TIMEOUT = 10.0
NAME_BYTES_MAX = 64
STDOUT, STDERR = 1, 2

Server = TypeVar("Server", MultiServer, SingleServer)


def run() -> int:
    """Runs the command line; returns the exit status. Errors are one line on stderr."""
    return _cli.run("fastsock-chat", cli, (ChatError, FastsockError))


@click.group(no_args_is_help=False)
@click.version_option(package_name="fastsock")
def cli() -> None:
    """Talk with many over sockets: a server, clients, and a demonstration.

    In a terminal there is a prompt below the conversation. Otherwise plain lines are read from
    stdin and written to stdout, so that scripts and pipes can drive it.
    """


cli.add_command(network_commands.port)
cli.add_command(network_commands.interfaces)

fifo_option = click.option(
    "--fifo",
    metavar="PATH",
    help="Read input from this FIFO as well: lines, or records of `fastsock-chat input`. "
    "It is made if it is missing, and removed at the end if it was made.",
)


@cli.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST|auto",
    help="Listen on this address; auto: an IPv4 address that is not loopback.",
)
@click.option("--port", default=0, show_default="any free port", type=click.IntRange(0, 65535))
@fifo_option
@click.option(
    "--relay",
    show_default="others",
    type=click.Choice(["others", "all", "none"]),
    help="Whom to send what a client says, with its number in front.",
)
@click.option("--verbatim", is_flag=True, help="Relay without the number in front.")
@click.option("--single", is_flag=True, help="Serve one client at a time; refuse others.")
@click.option("--queue", is_flag=True, help="With --single: others wait for their turn instead.")
def server(
    host: str,
    port: int,
    fifo: str | None,
    relay: str | None,
    verbatim: bool,
    single: bool,
    queue: bool,
) -> None:
    """Serve a conversation.

    Prints `listening on HOST:PORT`, who joins and leaves, and what each client says with its
    number. What is typed goes to all clients; `@3 text` goes to client 3 alone; `end` ends the
    server when all is sent. /who, /kick N, /stats and /help are commands.

    When stdin ends, the server goes on until `end` comes from the FIFO, or a signal.
    """
    _check_server_options(relay, verbatim, single, queue)
    with ExitStack() as stack:
        screen = stack.enter_context(closing(_screen(STDOUT)))
        reader = stack.enter_context(FifoReader(fifo)) if fifo else None
        address = (_auto_host() if host == "auto" else host, port)
        conversation: Conversation
        if single:
            one = stack.enter_context(_listen(address, SingleServer, queue=queue))
            conversation = SingleConversation(one, screen)
        else:
            relaying = {"relay": relay or "others", "relay_except": END} if verbatim else {}
            many = stack.enter_context(_listen(address, MultiServer, **relaying))
            conversation = ServerConversation(many, screen, relay or "others", verbatim)
        screen.note(f"listening on {show(conversation.server.address)}")
        if reader:
            screen.note(f"reading FIFO {reader.path}{' (new)' if reader.created else ''}")
        conversation.run(reader)


@cli.command()
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@fifo_option
@click.option("--name", default="", help="Put `NAME: ` in front of every line.")
@click.option(
    "--exit-on-eof",
    is_flag=True,
    help="At the end of stdin, leave as `end` does, without waiting for answers.",
)
def connect(host: str, port: int, fifo: str | None, name: str, exit_on_eof: bool) -> None:
    """Join the conversation that HOST serves at PORT.

    Typed lines go to the server, its lines are shown; `end` ends the conversation. When not in a
    terminal, stdout holds the server's lines and nothing else; notes go to stderr.

    When stdin ends, all of it is sent, and what arrives is shown until the server closes; with
    --exit-on-eof the conversation ends at once.
    """
    name_bytes = _check_name(name)
    with ExitStack() as stack:
        screen = stack.enter_context(closing(_screen(STDERR)))
        reader = stack.enter_context(FifoReader(fifo)) if fifo else None
        client = stack.enter_context(_dial(host, port))
        found = net.resolve(host)
        screen.note(f"server's official name {found.name}, addresses {', '.join(found.addresses)}")
        screen.note(f"connected to {show(client.peer)} from {show(client.address)}")
        ClientConversation(client, screen, name_bytes, exit_on_eof).run(reader)


@cli.command("input", short_help="Be the input terminal of a server or a client.")
@click.argument("path")
def input_(path: str) -> int:
    """Be the input terminal of a conversation that reads the FIFO PATH.

    Each line of stdin becomes a record of 1024 bytes: its text, a newline, zeroes. Waits where
    nobody reads the FIFO, which is made if it is missing and removed at the end if it was made.
    """
    refused = False

    def write(line: bytes) -> None:
        nonlocal refused
        try:
            writer.write(line)
        except ValueError as error:
            refused = True
            screen.error(str(error))

    with (
        closing(_screen(STDERR)) as screen,
        FifoWriter(path, on_wait=lambda: screen.note(f"waiting for a reader of {path}")) as writer,
    ):
        screen.converse(write)
    return 1 if refused else 0


def _screen(notes: int) -> Screen:
    """A prompt in a terminal, else plain lines, with notes on that descriptor."""
    if not (os.isatty(STDIN) and os.isatty(STDOUT)) or in_background():
        return PlainScreen(notes)
    from fastsock.chat.terminal import TerminalScreen  # takes its time, and pipes do not need it

    return TerminalScreen()


def _check_server_options(relay: str | None, verbatim: bool, single: bool, queue: bool) -> None:
    if verbatim and relay == "none":
        raise click.UsageError("--verbatim says how to relay, --relay none not to: leave one out")
    if single and (relay or verbatim):
        given = "--relay" if relay else "--verbatim"
        raise click.UsageError(f"--single has nobody to relay to: leave out {given}")
    if queue and not single:
        raise click.UsageError("--queue is for --single; any number of clients joins otherwise")


def _listen(address: tuple[str, int], kind: type[Server], **options: Any) -> Server:
    try:
        return kind(
            address,
            message_bytes_max=MESSAGE_BYTES_MAX,
            final_line=True,
            linger=LINGER,
            **options,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _dial(host: str, port: int) -> Client:
    try:
        return Client.connect(
            (host, port),
            timeout=CONNECT_TIMEOUT,
            message_bytes_max=MESSAGE_BYTES_MAX,
            final_line=True,
            linger=LINGER,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _auto_host() -> str:
    """The last IPv4 address that is not loopback, as the lecture's loop over them finds it."""
    found = [
        interface.address
        for interface in net.interfaces()
        if interface.family == socket.AF_INET
        and interface.address
        and not ipaddress.ip_address(interface.address).is_loopback
    ]
    if not found:
        raise ChatError("--host auto: no interface has an IPv4 address that is not loopback")
    return found[-1]


def _check_name(name: str) -> bytes:
    data = name.encode(errors="replace")
    if len(data) > NAME_BYTES_MAX or printable(data) != name:
        raise click.UsageError(
            f"--name must be printable and at most {NAME_BYTES_MAX} bytes, not {printable(data)!r}"
        )
    return data


@cli.command()
@click.option("--clients", default=100, show_default=True, type=click.IntRange(1, 10_000))
@click.option(
    "--messages",
    type=click.IntRange(1, 10_000_000),
    help="How many lines to broadcast; the text is repeated as needed. "
    "By default the whole text, as often as takes asyncio a few seconds.",
)
@click.option("--input", "path", metavar="FILE|-", help="Broadcast the lines of FILE or stdin.")
def demo(clients: int, messages: int | None, path: str | None) -> None:
    """Broadcast a text to many clients, and compare with asyncio.

    A server sends each line of a text to CLIENTS real TCP clients over loopback, and a digest for
    each of them says whether it received exactly that. The same is done by fastsock, by an asyncio
    server, and by one that joins messages by hand. The exit status is 1 if a byte is missing.
    """
    from fastsock.chat.demo import Work, check, compare, read_text, repeated, table

    work = Work(repeated(read_text(path), messages), clients)
    with table.progress(work) as on_progress:
        results = compare(work, on_progress)
    table.show(work, results)
    check(work, results)
