"""What telnet puts between the lines: commands (RFC 854), and what it waits for.

The answer to a command goes out with the line that it precedes: a server of lines hears a line when
it ends. So after Ctrl-C telnet shows what others say from the next Enter on; nothing is lost.
"""

import re

__all__ = ["without_commands"]

WILL, WONT, DO, DONT = 0xFB, 0xFC, 0xFD, 0xFE
IAC = 0xFF
TIMING_MARK = 0x06

# One of the commands with an option, another command, the byte 255 itself, or what is left of an
# urgent data mark, whose first byte goes beside the stream.
COMMAND = re.compile(rb"\xff(?:([\xfb-\xfe])(.)|[\xf0-\xfa]|(\xff))|\xf2(?=\xff)", re.DOTALL)


def without_commands(data: bytes) -> tuple[bytes, bytes]:
    """The text of a line without commands, and what must be answered to them, if anything.

    Every option is refused but the timing mark (RFC 860): after Ctrl-C telnet shows nothing until
    it is there. Text in UTF-8 has no byte 255.
    """
    if b"\xff" not in data:
        return data, b""
    answer = bytearray()

    def understood(found: re.Match[bytes]) -> bytes:
        if found[1]:
            answer.extend(_answer(found[1][0], found[2][0]))
        return found[3] or b""

    return COMMAND.sub(understood, data), bytes(answer)


def _answer(verb: int, option: int) -> bytes:
    if verb == WILL:
        return bytes((IAC, DONT, option))
    if verb == DO:
        return bytes((IAC, WILL if option == TIMING_MARK else WONT, option))
    return b""
