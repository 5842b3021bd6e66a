"""What the stand-ins for the lecture's programs share: buffers of 1024 bytes, texts up to a NUL."""

import os

RECORD_BYTES = 1024


def text_of(buffer: bytes) -> bytes:
    """What strlen(3) sees of a buffer."""
    return buffer.partition(b"\0")[0]


def ends(text: bytes) -> bool:
    """Whatever begins with ``end`` ends a conversation, also in the middle of a word."""
    return text.startswith(b"end")


def say(who: str, text: bytes) -> None:
    """Prints in one write, since several processes share stdout."""
    os.write(1, f"{who} say: ".encode() + text)
