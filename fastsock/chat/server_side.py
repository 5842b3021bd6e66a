"""The server's side of the conversation: the lecture's algorithm 11-5."""

import re
from contextlib import suppress

from fastsock import Connection, ConnectionClosed, MultiServer, ServerClosed
from fastsock.chat.conversation import Command, Conversation
from fastsock.chat.screen import LINGER, Screen
from fastsock.chat.telnet import without_commands
from fastsock.chat.text import (
    END,
    TEXT_BYTES_MAX,
    escaped,
    is_end,
    printable,
    relayed,
    says_end,
)
from fastsock.core.address import show
from fastsock.fifo import FifoReader

__all__ = ["MESSAGE_BYTES_MAX", "ServerConversation"]

MESSAGE_BYTES_MAX = TEXT_BYTES_MAX + 32
"""The longest text with the speaker's number in front."""
DIRECT = re.compile(rb"@(\d+)(?:\s+(.*))?", re.DOTALL)


class ServerConversation(Conversation):
    """Sends what is typed to the clients, shows what they say, and relays it.

    ``relay`` says to whom: "others", "all" or "none"; with the speaker's number in front, unless
    ``verbatim``: then the engine relays, but for what begins with ``end``. The server is driven by
    a thread of its own, which ``run`` starts.
    """

    def __init__(self, server: MultiServer, screen: Screen, relay: str, verbatim: bool) -> None:
        super().__init__(screen)
        self.server = server
        self._relay = relay
        self._verbatim = verbatim
        server.on_connect(self._joined)
        server.on_message(self._heard)
        server.on_disconnect(self._left)
        self.commands: dict[str, Command] = {
            "who": ("/who: who is connected, from where, and for how long", self._who),
            "kick": ("/kick N: closes the connection of client N", self._kick),
            "stats": ("/stats: the figures of the server", self._stats),
            "help": (
                "/help: this; @N text goes to client N, other text to all, end ends",
                self.help,
            ),
        }

    def run(self, fifo: FifoReader | None) -> None:
        self.server.start()
        super().run(fifo)

    # ---- What is typed ----

    def say(self, text: bytes) -> None:
        found = DIRECT.fullmatch(text)
        if not found:
            self.server.broadcast(escaped(text))
            return
        conn = self._client(found[1].decode())
        if not found[2]:
            raise ValueError(f"nothing to say to client {conn.number}: @{conn.number} text")
        if is_end(found[2]):
            self._part(conn)
        else:
            conn.send(escaped(found[2]))

    def input_ended(self) -> None:
        """The clients may go on; a FIFO, a signal, or the prompt's Ctrl-D ends the server."""
        if self.screen.interactive:
            self.end()

    def say_end(self) -> None:
        with suppress(TimeoutError):  # whoever does not take it is cut off by hang_up
            self.server.drain(timeout=LINGER)
        self.server.broadcast(END)

    def hang_up(self) -> None:
        self.server.close()

    def _part(self, conn: Connection) -> None:
        """Ends the conversation with one client; the ``end`` goes out alone."""
        with suppress(TimeoutError):
            self.server.drain(timeout=LINGER)
        conn.context = "told to end"
        conn.send(END)
        conn.close()

    def _client(self, number: str) -> Connection:
        conns = self.server.connections
        for conn in conns:
            if conn.number == int(number):
                return conn
        present = ", ".join(str(conn.number) for conn in conns[:20]) or "nobody"
        raise ValueError(f"there is no client {number}; connected: {present}")

    # ---- What clients do ----

    def _joined(self, conn: Connection) -> None:
        self.screen.note(f"client {conn.number} joined from {show(conn.peer)}")

    def _heard(self, conn: Connection, data: bytes) -> None:
        if conn.context:  # it is being closed, and this was on its way
            return
        text, answer = without_commands(data)
        if answer:
            with suppress(ConnectionClosed, ServerClosed):
                conn.send(answer)
        if text or not data:
            self._said(conn, text)

    def _said(self, conn: Connection, data: bytes) -> None:
        if says_end(data):
            conn.context = "said end"
            conn.close()
        elif len(data) > TEXT_BYTES_MAX:
            conn.context = f"said {len(data)} bytes at once, {TEXT_BYTES_MAX} may be"
            conn.close()
        else:
            with suppress(ServerClosed):
                self._pass_on(conn, data)
            self.screen.said(f"{conn.number}: {printable(data)}", conn.number)

    def _pass_on(self, conn: Connection, data: bytes) -> None:
        if self._relay == "none" or self.screen.stopped:
            return
        others_only = conn if self._relay == "others" else None
        if not self._verbatim:
            self.server.broadcast(b"%d: %b" % (conn.number, relayed(data)), exclude=others_only)
        elif data.startswith(END):  # The C relay leaves these to us.
            self.server.broadcast(escaped(data), exclude=others_only)

    def _left(self, conn: Connection, reason: str) -> None:
        self.screen.note(f"client {conn.number} left ({conn.context or reason})")

    # ---- Commands ----

    def _who(self, argument: str) -> None:
        clients = self.server.stats().connections
        for stats in clients:
            self.screen.note(
                f"client {stats.number} from {show(stats.peer)} for {stats.age:.0f} s,"
                f" said {stats.messages_received}, last active {stats.idle:.0f} s ago"
            )
        if not clients:
            self.screen.note("nobody is connected")

    def _kick(self, argument: str) -> None:
        if not argument.isdecimal():
            raise ValueError(f"/kick takes the number of a client, not {argument!r}")
        conn = self._client(argument)
        conn.context = "kicked"
        conn.close()

    def _stats(self, argument: str) -> None:
        stats = self.server.stats()
        figures = {
            "clients": len(stats.connections),
            "accepted": stats.accepted,
            "messages received": stats.messages_received,
            "published": stats.messages_published,
            "delivered": stats.deliveries,
            "bytes received": stats.bytes_received,
            "sent": stats.bytes_sent,
            "queued": stats.queued_bytes,
            "sends": stats.sends,
        }
        self.screen.note(", ".join(f"{name} {value}" for name, value in figures.items()))
        for reason, count in stats.ended.items():
            self.screen.note(f"ended: {count} {reason}")
