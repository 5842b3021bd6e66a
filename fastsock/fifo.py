"""Text through a named pipe (fifo(7)): the separate input terminal of the lecture's algorithm 11-3.

What is written into the FIFO is understood in two forms, which may be mixed:

- lines, as ``echo`` writes them;
- records of 1024 bytes, as the lecture's input program writes them: the text ends at the first NUL,
  and the rest of the record, which holds what its buffer held before, means nothing.

A NUL that is right behind the first newline, or the last of 1024 bytes, or has nothing but zeroes
behind it belongs to a record if all 1024 bytes are there: a write of up to PIPE_BUF bytes is atomic
(pipe(7)), so where a record is begun it is whole. Every other NUL ends a text, as a newline does:
``find -print0`` can write here, and nothing that follows is lost.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from fastsock.core.closing import Closing
from fastsock.core.forking import disown_in_children, foreign
from fastsock.core.gate import Gate
from fastsock.core.options import check_count
from fastsock.errors import MessageTooBig

__all__ = ["RECORD_BYTES", "FifoReader", "FifoWriter", "Gate", "Splitter", "record"]

RECORD_BYTES = 1024
TEXT_BYTES_MAX = RECORD_BYTES - 2
"""What fits a record beside the newline and the NUL that the lecture's readers look for."""
TEXT_BYTES_LIMIT = 1 << 30
"""The most that ``text_bytes_max`` may be."""
READ_BYTES = 1 << 16
FIFO_MODE = 0o666
"""Less the umask, as mkfifo(1) does it."""


def record(text: bytes) -> bytes:
    """One record: the text, a newline, and zeroes up to 1024 bytes.

    Raises MessageTooBig for a text above 1022 bytes, ValueError for a newline or NUL inside it.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise MessageTooBig(
            f"a text of {len(text)} bytes does not fit a record, which holds {TEXT_BYTES_MAX}"
        )
    if b"\n" in text or b"\0" in text:
        raise ValueError(f"the text of a record has no newline and no NUL inside, as {text!r} has")
    return (text + b"\n").ljust(RECORD_BYTES, b"\0")


class Splitter:
    """Cuts bytes into texts without their ends: lines, and with ``records`` also records.

    It does no input itself. A text above ``text_bytes_max`` is cut to one byte more than that, so
    that its reader sees that it is too long; the memory it takes is bounded.
    """

    def __init__(self, text_bytes_max: int = 1 << 16, *, records: bool = False) -> None:
        check_count("text_bytes_max", text_bytes_max, TEXT_BYTES_LIMIT)
        self._text_bytes_max = text_bytes_max
        self._records = records
        self._kept = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes; returns the texts that are whole now.

        With records, a line whose newline is the last byte is held back, since a NUL may follow,
        and so is what may be the start of a record: ``settle`` releases both.
        """
        self._kept += data
        return self._texts(settled=False)

    def settle(self) -> list[bytes]:
        """No more has arrived for now: returns the texts that were held back."""
        return self._texts(settled=True)

    def finish(self) -> list[bytes]:
        """The writer has gone: returns what is left, whole or not; the next bytes start anew."""
        texts = self.settle()
        if self._kept:
            texts.append(self._cut(len(self._kept)))
        self._kept.clear()
        return texts

    def _texts(self, *, settled: bool) -> list[bytes]:
        texts = []
        while self._kept and (ends := self._find_end(settled)):
            end, rest = ends
            texts.append(self._cut(end))
            del self._kept[:rest]
        if b"\n" not in self._kept and not (self._records and b"\0" in self._kept):
            del self._kept[self._text_bytes_max + 1 :]
        return texts

    def _find_end(self, settled: bool) -> tuple[int, int] | None:
        """Where the text at the start ends and where the next one starts."""
        newline = self._kept.find(b"\n")
        if self._records:
            nul = self._kept.find(b"\0", 0, newline + 2 if newline >= 0 else len(self._kept))
            if nul >= 0:
                return self._find_nul_end(newline, nul, settled)
            if newline + 1 == len(self._kept) and not settled:
                return None
        return (newline, newline + 1) if newline >= 0 else None

    def _find_nul_end(self, newline: int, nul: int, settled: bool) -> tuple[int, int] | None:
        """As _find_end, where a NUL ends the text, or is right behind its newline."""
        end = newline if 0 <= newline < nul else nul
        if not self._may_be_record(nul):
            return end, nul + 1
        if len(self._kept) >= RECORD_BYTES:
            return end, RECORD_BYTES
        return (end, nul + 1) if settled else None

    def _may_be_record(self, nul: int) -> bool:
        """Whether the NUL ends the text of a record, by what has come of it."""
        if nul >= RECORD_BYTES - 1:
            return nul == RECORD_BYTES - 1
        return self._kept[nul - 1 : nul] == b"\n" or not any(self._kept[nul:RECORD_BYTES])

    def _cut(self, end: int) -> bytes:
        return bytes(self._kept[: min(end, self._text_bytes_max + 1)])


class _End(Closing):
    """One end of a FIFO, and the FIFO itself if it was made here."""

    _fd = -1
    _owned: "_Owned | None" = None
    _closed = False
    _foreign = False
    """Whether it is that of the process that forked this one."""

    def _begin(self, path: str | Path) -> None:
        self._refuse_second_init("_path")
        self._path = Path(path)
        self._owned = _Owned(self._path)
        disown_in_children(self)

    @property
    def path(self) -> Path:
        return self._require().path

    @property
    def created(self) -> bool:
        """Whether the FIFO was made here."""
        return self._require().created

    def _require(self) -> "_Owned":
        if self._owned is None:
            kind = type(self).__name__
            raise RuntimeError(f"this {kind} was never opened: use {kind}(path)")
        return self._owned

    def _require_open(self) -> "_Owned":
        """ValueError after ``close``, RuntimeError in a forked child, and if no ``__init__`` has
        run."""
        owned = self._require()
        if self._foreign:
            raise foreign(type(self).__name__)
        if self._closed:
            raise ValueError(f"{self!r} is closed")
        return owned

    def close(self) -> None:
        """Removes the FIFO if it was made here. Idempotent; in a forked child it does nothing.

        The name goes first: a reader that sees its writer leave then makes a new FIFO for the next
        one.
        """
        if self._owned is not None and not self._foreign:
            self._owned.remove()
        self._closed = True
        self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _held(self) -> str:
        made = self._owned is not None and self._owned.created and not self._foreign
        return "" if self._fd < 0 and not made else "its FIFO" if made else "its descriptor"

    def _drop(self) -> None:
        self.close()

    def _disown(self) -> None:
        """In a forked child: the FIFO is the parent's."""
        self._foreign = True
        self._close_fd()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path if self._owned else 'that is not open'}>"


class FifoReader(_End):
    """The texts that come through the FIFO ``path``; iterate it to have them, as bytes.

    A missing FIFO is made, and ``close`` removes what was made here. Reading goes on when a writer
    leaves and another comes; one that leaves in the middle of a text ends it. Iteration ends after
    ``stop``, which any thread may call; left before, it loses nothing: the next one goes on.
    Raises OSError where path is no FIFO or not permitted.
    """

    _gate: Gate | None = None

    def __init__(self, path: str | Path, *, text_bytes_max: int = 1 << 16) -> None:
        self._begin(path)
        self._splitter = Splitter(text_bytes_max, records=True)
        self._ready: deque[bytes] = deque()
        self._more = False
        """Whether the FIFO may hold more than was read."""
        self._gate = Gate()
        self._fd = self._open()

    def _open(self) -> int:
        owned = self._require_open()
        owned.ensure()
        return _open_fifo(owned.path, os.O_RDONLY | os.O_NONBLOCK)

    def __iter__(self) -> Iterator[bytes]:
        self._require_open()
        return self._texts()

    def _texts(self) -> Iterator[bytes]:
        while True:
            while self._ready:
                yield self._ready.popleft()
            self._require_open()
            if not self._more and not (self._gate and self._gate.wait(self._fd)):
                return
            self._more = self._read()

    def _read(self) -> bool:
        """Reads once, for this loop or the next one; False if the FIFO holds no more now."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            self._ready.extend(self._splitter.settle())
            return False
        if data:
            self._ready.extend(self._splitter.feed(data))
            return True
        self._ready.extend(self._splitter.finish())
        self._reopen()
        return False

    def _reopen(self) -> None:
        """Forget that the writers have left: poll(2) would report it without end.

        The old descriptor is closed last, so that nothing which a new writer has written is lost.
        """
        old, self._fd = self._fd, self._open()
        os.close(old)

    def stop(self) -> None:
        """Ends the iteration. Any thread may call it."""
        gate = self._gate
        if gate is not None and not self._foreign:
            gate.shut()

    def close(self) -> None:
        """Removes the FIFO if it was made here. Call it when nobody iterates. Idempotent; in a
        forked child it does nothing."""
        super().close()
        self._gate = None


class FifoWriter(_End):
    """Writes records into the FIFO ``path``, for readers that come and go.

    A missing FIFO is made, and ``close`` removes what was made here. ``on_wait()`` is called before
    a wait for a reader. Raises OSError where path is no FIFO or not permitted.
    """

    def __init__(self, path: str | Path, *, on_wait: Callable[[], object] = lambda: None) -> None:
        self._begin(path)
        self._on_wait = on_wait
        self._require_open().ensure()

    def write(self, text: bytes) -> None:
        """Writes one record; waits for a reader where there is none. Raises as ``record`` does, and
        ValueError after ``close``."""
        self._require_open()
        packed = record(text)
        while True:
            if self._fd < 0:
                self._fd = self._open()
            try:
                os.write(self._fd, packed)  # whole or not at all, see above
                return
            except BrokenPipeError:
                self._close_fd()

    def _open(self) -> int:
        owned = self._require_open()
        owned.ensure()
        try:
            fd = _open_fifo(owned.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody reads it
                raise
        else:
            os.set_blocking(fd, True)
            return fd
        self._on_wait()
        return _open_fifo(owned.path, os.O_WRONLY)


class _Owned:
    """A path where a FIFO has to be, and which file there is ours to remove."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._made: tuple[int, int] | None = None

    @property
    def created(self) -> bool:
        return self._made is not None

    def ensure(self) -> None:
        """Makes the FIFO where nothing is."""
        try:
            os.mkfifo(self.path, FIFO_MODE)
        except FileExistsError:
            if not self.path.is_fifo():
                told = f"{self.path} exists and is no FIFO (named pipe)"
                raise OSError(errno.EINVAL, told) from None
        except OSError as error:
            raise _failed("make", self.path, error) from None
        else:
            self._made = self._identity()

    def remove(self) -> None:
        """Removes the FIFO that was made here, unless another has taken its place."""
        if self._made is not None and self._identity() == self._made:
            self.path.unlink(missing_ok=True)
        self._made = None

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _open_fifo(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a writer that does not want to wait for a reader
            raise
        raise _failed("open", path, error) from None


def _failed(verb: str, path: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot {verb} the FIFO {path}: {error.strerror}")
