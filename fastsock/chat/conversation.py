"""What both sides of a conversation share: where typed lines come from, and how it ends."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from fastsock import FastsockError
from fastsock.chat.screen import ChatError, NoInput, Screen
from fastsock.chat.text import TEXT_BYTES_MAX, command_of, is_end, printable
from fastsock.fifo import FifoReader

__all__ = ["Command", "Conversation"]

JOIN_TIMEOUT = 5.0

Command = tuple[str, Callable[[str], None]]
"""How it is typed and what it does, for /help, and the function of its argument."""


class Conversation(ABC):
    """Takes what is typed, on the screen and through a FIFO, until somebody ends it.

    Lines may come from several threads at once.
    """

    commands: dict[str, Command]

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._threads: list[threading.Thread] = []
        self._ended_here = False

    @abstractmethod
    def say(self, text: bytes) -> None:
        """Sends one text that was typed, which is neither a command nor ``end``."""

    @abstractmethod
    def input_ended(self) -> None:
        """The screen's input has ended before the conversation."""

    @abstractmethod
    def say_end(self) -> None:
        """Sends what is queued, and then tells the other side that this side ends it."""

    @abstractmethod
    def hang_up(self) -> None:
        """Closes every connection; what is queued goes out within LINGER. Idempotent."""

    def run(self, fifo: FifoReader | None) -> None:
        """Converses until the end. Raises ChatError where something has failed."""
        if fifo is not None:
            self.in_thread(lambda: self._feed(fifo))
        try:
            self._hear_typist()
            if not self.screen.stopped:
                self.input_ended()
            self.screen.wait()
            if self._ended_here:
                self.say_end()
        finally:
            self.screen.stop()
            if fifo is not None:
                fifo.stop()
            self.hang_up()
            for thread in self._threads:
                thread.join(JOIN_TIMEOUT)
        if self.screen.failure:
            raise ChatError(self.screen.failure)

    def _hear_typist(self) -> None:
        try:
            self.screen.converse(self.typed, self.commands)
        except NoInput as error:  # as nohup(1) makes it
            self.screen.note(f"{error}; the conversation goes on without it")

    def in_thread(self, work: Callable[[], None]) -> None:
        """Runs work beside the conversation; hanging up has to end it. If it fails, the
        conversation ends, and says why."""

        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.screen.stop(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=run, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.screen.stop(str(error))
        else:
            self._threads.append(thread)

    def end(self) -> None:
        """What typing ``end`` does."""
        self._ended_here = True
        self.screen.stop()

    def typed(self, line: bytes) -> None:
        """Does what a typed line asks for; what is wrong with it is shown to the typist."""
        if self.screen.stopped:
            return
        if len(line) > TEXT_BYTES_MAX:
            self.screen.error(f"a line of more than {TEXT_BYTES_MAX} bytes is not sent")
        elif is_end(line):
            self.end()
        else:
            self._try(self._command(line) or (lambda: self.say(line)))

    def _command(self, line: bytes) -> Callable[[], None] | None:
        """What the line does if it is a command."""
        name, argument = command_of(printable(line)) or ("", "")
        if name not in self.commands:
            return None
        return lambda: self.commands[name][1](argument)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (FastsockError, ValueError) as error:
            if not self.screen.stopped:
                self.screen.error(str(error))

    def help(self, argument: str) -> None:
        """Shows the commands."""
        for explained, _ in self.commands.values():
            self.screen.note(explained)

    def _feed(self, fifo: FifoReader) -> None:
        try:
            for text in fifo:
                if self.screen.interactive:  # where typed lines are seen, these are, too
                    self.screen.note(f"FIFO: {printable(text)}")
                self.typed(text)
        except OSError as error:
            self.screen.error(f"no more input from the FIFO: {error.strerror}")
