"""What may be said and shown: the rules that the lecture's peers and a terminal ask for."""

import re

from fastsock._cli import shown

__all__ = [
    "END",
    "TEXT_BYTES_MAX",
    "command_of",
    "escaped",
    "is_end",
    "printable",
    "relayed",
    "says_end",
    "speaker_of",
]

TEXT_BYTES_MAX = 1 << 16
END = b"end"

COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?\s*")
SPEAKER = re.compile(r"(\d{1,18}): ")


def printable(data: bytes) -> str:
    """Text of a peer as it may be shown: what is no UTF-8 becomes U+FFFD, and whatever could
    control the terminal its escape, as in ``\\x1b``."""
    return shown(data.decode("utf-8", errors="replace"))


def relayed(data: bytes) -> bytes:
    """Text of one peer as the others get it: with nothing that could control their terminals, nor
    a byte that telnet takes for a command."""
    text = shown(data.decode("utf-8", errors="surrogateescape"))
    return text.encode("utf-8", errors="surrogateescape").replace(b"\xff", b"\\xff")


def is_end(text: bytes) -> bool:
    """Whether what was typed ends the conversation."""
    return text.strip() == END


def says_end(data: bytes) -> bool:
    """Whether what a peer said ends the conversation: with a space in front it does not."""
    return data.rstrip() == END


def escaped(text: bytes) -> bytes:
    """The text as it may go out: without carriage returns at its end, and with a space in front
    of ``end``, which would close the lecture's peers, whatever follows."""
    text = text.rstrip(b"\r")
    return b" " + text if text.startswith(END) else text


def command_of(text: str) -> tuple[str, str] | None:
    """The name and the argument of what looks like a command, as in ``/kick 3``."""
    found = COMMAND.fullmatch(text)
    return (found[1], found[2] or "") if found else None


def speaker_of(text: str) -> int | None:
    """The number in front of a relayed text, as in ``3: hello``."""
    found = SPEAKER.match(text)
    return int(found[1]) if found else None
