"""The client's side of the conversation: the lecture's algorithm 11-4."""

from contextlib import suppress

from fastsock import Client, ConnectionClosed, ProtocolError
from fastsock.chat.conversation import Command, Conversation
from fastsock.chat.screen import LINGER, Screen
from fastsock.chat.text import END, escaped, printable, says_end, speaker_of
from fastsock.fifo import FifoReader

__all__ = ["ClientConversation"]

RECV_COUNT_MAX = 1000


class ClientConversation(Conversation):
    """Sends what is typed, with ``name`` in front if there is one, and shows what arrives.

    ``exit_on_eof``: the end of a plain input ends the conversation; else it goes on until the
    server ends it.
    """

    def __init__(self, client: Client, screen: Screen, name: bytes, exit_on_eof: bool) -> None:
        super().__init__(screen)
        self.client = client
        self._prefix = name + b": " if name else b""
        self._exit_on_eof = exit_on_eof
        self.commands: dict[str, Command] = {
            "help": ("/help: this; a line goes to the server, end ends", self.help),
        }

    def run(self, fifo: FifoReader | None) -> None:
        self.in_thread(self._receive)
        super().run(fifo)

    def say(self, text: bytes) -> None:
        try:
            self.client.send(escaped(self._prefix + text))
        except ConnectionClosed:
            self.screen.wait()  # the receiving thread shows what is left, and why it ended

    def input_ended(self) -> None:
        if self._exit_on_eof or self.screen.interactive:
            self.end()

    def say_end(self) -> None:
        with suppress(ConnectionClosed, TimeoutError):
            self.client.send(END, timeout=LINGER)

    def hang_up(self) -> None:
        self.client.close()

    def _receive(self) -> None:
        try:
            while not self._show(self.client.recv_many(RECV_COUNT_MAX)):
                continue
            self.screen.note("the server has ended the conversation")
            self.screen.stop()
        except ConnectionClosed as error:
            self._closed(error)
        except ProtocolError as error:
            self.screen.stop(str(error))

    def _closed(self, error: ConnectionClosed) -> None:
        if error.reason == "closed by peer":
            self.screen.note("the server has closed the connection")
            self.screen.stop()
        else:
            self.screen.stop("" if error.by == "local" else f"connection {error.reason}")

    def _show(self, messages: list[bytes]) -> bool:
        """Shows what has arrived; True when it ends the conversation."""
        for data in messages:
            if says_end(data):
                return True
            text = printable(data)
            self.screen.said(text, speaker_of(text))
        return False
