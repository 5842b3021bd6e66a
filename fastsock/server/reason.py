"""Why connections end."""

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Why a connection ended, in words."""

    PEER = "closed by peer"
    RESET = "reset by peer"
    LOCAL = "closed by this program"
    SERVER = "server closed"
    SLOW = "slow consumer"
    TOO_BIG = "message too big"
    HANDLER = "handler failed"
    MEMORY = "out of memory or descriptors"
    IDLE = "idle timeout"
    UNFINISHED = "unfinished message"
    FRAMING = "message too big: the peer speaks another framing"
