"""The screen in a terminal: a prompt at the bottom, the conversation above it.

One asyncio loop in the main thread runs the prompt, prints, and hears signals. Lines to show come
from any thread; they wait in a bounded queue while the terminal takes its time. What a typed line
asks for may block, so it runs in a thread, and the prompt comes back after it.
"""

import asyncio
import errno
import os
import signal
import termios
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.validation import ValidationError, Validator
from rich.console import Console
from rich.text import Text

from fastsock._cli import shown
from fastsock.chat.screen import SIGNALS, STDIN, Screen, Stopped
from fastsock.chat.text import command_of

__all__ = ["TerminalScreen"]

LOCAL_FLAGS = 3
"""Where tcgetattr(3) has them."""
LINES_MAX = 1000
COLOURS = ("cyan", "magenta", "green", "yellow", "bright_blue", "bright_red", "bright_cyan",
           "bright_magenta", "bright_green", "bright_yellow")  # fmt: skip


class TerminalScreen(Screen):
    """A prompt with history and completion, below lines with a colour for each speaker."""

    interactive = True

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._changed = threading.Condition()
        self._waiting: deque[Text] = deque()
        self._ready = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._conversing: asyncio.Task[None] | None = None
        self._signal: Stopped | None = None

    # ---- Showing ----

    def said(self, text: str, speaker: int | None = None) -> None:
        self._show(Text(text, "" if speaker is None else COLOURS[speaker % len(COLOURS)]))

    def note(self, text: str) -> None:
        self._show(Text(shown(text), "dim"))

    def error(self, text: str) -> None:
        self._show(Text(shown(text), "bold red"))

    def _show(self, line: Text) -> None:
        """Above the prompt; waits if too many lines wait already, until the conversation stops."""
        with self._changed:
            while self._loop and len(self._waiting) >= LINES_MAX and not self.stopped:
                self._changed.wait()
            self._waiting.append(line)
            if self._loop is None:
                self._print()
            else:
                self._loop.call_soon_threadsafe(self._ready.set)

    def _print(self) -> None:
        """Prints what waits, in one go."""
        with self._changed:
            lines = Text("\n").join(self._waiting)
            count = len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        if count:
            try:
                self._console.print(lines, soft_wrap=True)
            except Exception as error:
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Ends the conversation, since nothing can be shown any more."""
        if not (isinstance(error, OSError) and self._hung_up(error)):
            told = (isinstance(error, OSError) and error.strerror) or repr(error)
            self.stop(f"cannot write to the terminal: {told}")

    async def _print_above(self, app: Application[str]) -> None:
        """The terminal stays in the prompt's mode, so that no key which is typed meanwhile is lost:
        run_in_terminal would have the kernel take a Ctrl-D for itself."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            if app.is_running:
                app.renderer.erase()
            self._print()
            if app.is_running:
                app.renderer.request_absolute_cursor_position()
                app.invalidate()

    # ---- Typing ----

    def converse(self, on_line: Callable[[bytes], None], commands: Collection[str] = ()) -> None:
        handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
        try:
            asyncio.run(self._converse(on_line, commands, handlers))
        except asyncio.CancelledError:
            pass  # by stop
        except OSError as error:
            if not self._hung_up(error):
                raise
        finally:
            for signum, handler in handlers.items():
                signal.signal(signum, handler)
        if self._signal:
            raise self._signal

    async def _converse(
        self,
        on_line: Callable[[bytes], None],
        commands: Collection[str],
        handlers: Mapping[signal.Signals, object],
    ) -> None:
        loop = asyncio.get_running_loop()
        for signum, handler in handlers.items():
            if callable(handler):
                loop.add_signal_handler(signum, self._interrupt, Stopped(signum))
        self._conversing = asyncio.current_task()
        session: PromptSession[str] = PromptSession(
            "> ",
            completer=WordCompleter([f"/{name}" for name in commands], sentence=True),
            validator=_KnownCommands(commands),
            validate_while_typing=False,
        )
        printing = loop.create_task(self._print_above(session.app))
        printing.add_done_callback(self._printing_ended)
        with self._changed:
            self._loop = loop
        try:
            if not self.stopped:
                with _keys_kept() as modes, _suspended_by_key(session, modes):
                    await self._read(on_line, session)
        finally:
            with self._changed:
                self._loop = None
                self._print()
            printing.cancel()

    def _printing_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)

    async def _read(self, on_line: Callable[[bytes], None], session: PromptSession[str]) -> None:
        while True:
            try:
                typed = await session.prompt_async(handle_sigint=False)
            except EOFError:
                return
            except KeyboardInterrupt:
                raise Stopped(signal.SIGINT) from None
            for line in typed.split("\n"):  # Several have been pasted.
                if line.strip() and not self.stopped:
                    await asyncio.wrap_future(_in_thread(on_line, line.encode(errors="replace")))

    def _hung_up(self, error: OSError) -> bool:
        """Whether the terminal is gone; that ends the conversation as the signal for it does, which
        may come later, or never."""
        if error.errno != errno.EIO:
            return False
        self._interrupt(Stopped(signal.SIGHUP))
        return True

    def _interrupt(self, stopped: Stopped) -> None:
        self._signal = stopped
        self.stop()

    def stop(self, failure: str = "") -> None:
        super().stop(failure)
        with self._changed:
            self._changed.notify_all()
            if self._loop is not None and self._conversing is not None:
                self._loop.call_soon_threadsafe(self._conversing.cancel)

    def close(self) -> None:
        """Holds nothing."""


@contextmanager
def _keys_kept() -> Iterator[list[Any]]:
    """Between prompts the terminal keeps the keys for the next one, without an echo and without
    taking a Ctrl-D for itself; Ctrl-C and Ctrl-Z are signals. Yields the modes from before."""
    before = termios.tcgetattr(STDIN)
    mode = list(before)
    mode[LOCAL_FLAGS] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(STDIN, termios.TCSANOW, mode)
    try:
        yield before
    finally:
        with suppress(termios.error):  # it has hung up
            termios.tcsetattr(STDIN, termios.TCSANOW, before)


@contextmanager
def _suspended_by_key(session: PromptSession[str], modes: list[Any]) -> Iterator[None]:
    """Ctrl-Z suspends this job of the shell, at the prompt and between prompts. Meanwhile the
    terminal has those modes; after it the prompt is drawn anew, with what was typed."""
    if signal.getsignal(signal.SIGTSTP) != signal.SIG_DFL:  # as a shell without jobs leaves it
        yield
        return
    loop = asyncio.get_running_loop()
    app = session.app

    def suspend() -> None:
        if app.is_running:
            app.renderer.erase()
        kept = termios.tcgetattr(STDIN)
        termios.tcsetattr(STDIN, termios.TCSANOW, modes)
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(0, signal.SIGTSTP)  # to the whole job, as the kernel does; returns when it goes on
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        termios.tcsetattr(STDIN, termios.TCSANOW, kept)
        if app.is_running:
            app.renderer.request_absolute_cursor_position()
            app.invalidate()

    session.key_bindings = keys = KeyBindings()
    keys.add("c-z")(lambda event: suspend())
    loop.add_signal_handler(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)


class _KnownCommands(Validator):
    """A mistyped command must not go out to everybody."""

    def __init__(self, commands: Collection[str]) -> None:
        self._commands = commands

    def validate(self, document: Document) -> None:
        for line in document.text.split("\n"):
            name, _ = command_of(line) or ("", "")
            if name and name not in self._commands:
                raise ValidationError(
                    len(document.text),
                    f"no command /{name}; to send it as text, put a space in front",
                )


def _in_thread(function: Callable[[bytes], None], line: bytes) -> Future[None]:
    """Calls function(line) in a thread that an end of the program does not wait for."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()

    def call() -> None:
        try:
            function(line)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    try:
        threading.Thread(target=call, name="typed", daemon=True).start()
    except RuntimeError:  # There can be none now: the prompt waits for it.
        call()
    return future
