"""A conversation with one client at a time: the lecture's algorithm 11-2."""

from contextlib import suppress

from fastsock import ConnectionClosed, Endpoint, ProtocolError, ServerClosed, SingleServer
from fastsock.chat.conversation import Command, Conversation
from fastsock.chat.screen import LINGER, Screen
from fastsock.chat.telnet import without_commands
from fastsock.chat.text import END, escaped, printable, says_end
from fastsock.core.address import show
from fastsock.fifo import FifoReader

__all__ = ["SingleConversation"]


class SingleConversation(Conversation):
    """Sends what is typed to the client that is there, and shows what it says."""

    def __init__(self, server: SingleServer, screen: Screen) -> None:
        super().__init__(screen)
        self.server = server
        self._number = 0
        self._conn: Endpoint | None = None
        self._parting = ""
        self.commands: dict[str, Command] = {
            "who": ("/who: who is connected, and from where", self._who),
            "kick": ("/kick: closes the client's connection", self._kick),
            "help": ("/help: this; other text goes to the client, end ends", self.help),
        }

    def run(self, fifo: FifoReader | None) -> None:
        self.in_thread(self._serve)
        super().run(fifo)

    # ---- What is typed ----

    def say(self, text: bytes) -> None:
        with suppress(ConnectionClosed):  # the serving thread shows that it has left
            self._client().send(escaped(text))

    def input_ended(self) -> None:
        """Clients may go on; a FIFO, a signal, or the prompt's Ctrl-D ends the server."""
        if self.screen.interactive:
            self.end()

    def say_end(self) -> None:
        with suppress(ValueError, ConnectionClosed, TimeoutError):
            self._client().send(END, timeout=LINGER)

    def hang_up(self) -> None:
        self._parting = self._parting or "server closed"
        self.server.close()

    def _client(self) -> Endpoint:
        if self._conn is None:
            raise ValueError("nobody is connected: nothing was sent")
        return self._conn

    def _who(self, argument: str) -> None:
        told = f"client {self._number} from {show(self._conn.peer)}" if self._conn else "nobody"
        self.screen.note(f"{told} is connected")

    def _kick(self, argument: str) -> None:
        conn = self._client()
        self._parting = "kicked"
        conn.close()

    # ---- What clients do ----

    def _serve(self) -> None:
        try:
            while True:
                self._talk(self.server.accept())
        except ServerClosed:
            return
        except OSError as error:
            self.screen.stop(f"no more clients: {error.strerror}")

    def _talk(self, conn: Endpoint) -> None:
        self._number += 1
        self._conn = conn
        self.screen.note(f"client {self._number} joined from {show(conn.peer)}")
        with conn:
            reason = self._hear(conn)
        self._conn = None
        self.screen.note(f"client {self._number} left ({reason})")

    def _hear(self, conn: Endpoint) -> str:
        """Shows what the client says until it leaves; returns why it has."""
        self._parting = ""
        try:
            while True:
                data = conn.recv()
                text, answer = without_commands(data)
                if answer:
                    conn.send(answer)
                if says_end(text):
                    return "said end"
                if text or not data:
                    self.screen.said(f"{self._number}: {printable(text)}", self._number)
        except ConnectionClosed as error:
            return self._parting or error.reason
        except ProtocolError as error:
            return str(error)
