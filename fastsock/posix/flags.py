"""The flags of the POSIX calls, which print their names.

Numbers stand here only where Python has no name for them; the kernel's ABI fixes them for every
architecture (linux/if.h, linux/socket.h).
"""

import os
import select
import socket
from enum import KEEP, IntFlag


class NamedFlag(IntFlag, boundary=KEEP):
    """An IntFlag whose text is the names of its flags; bits without a name stay, as a number."""

    def __str__(self) -> str:
        return self.name or "0"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class MsgFlag(NamedFlag):
    """How a message is sent or received: send(2), recv(2), recvmmsg(2)."""

    MSG_OOB = socket.MSG_OOB
    MSG_PEEK = socket.MSG_PEEK
    MSG_DONTROUTE = socket.MSG_DONTROUTE
    MSG_CTRUNC = socket.MSG_CTRUNC
    MSG_TRUNC = socket.MSG_TRUNC
    MSG_DONTWAIT = socket.MSG_DONTWAIT
    MSG_EOR = socket.MSG_EOR
    MSG_WAITALL = socket.MSG_WAITALL
    MSG_CONFIRM = socket.MSG_CONFIRM
    MSG_ERRQUEUE = socket.MSG_ERRQUEUE
    MSG_NOSIGNAL = socket.MSG_NOSIGNAL
    MSG_MORE = socket.MSG_MORE
    MSG_WAITFORONE = 0x10000
    MSG_FASTOPEN = socket.MSG_FASTOPEN
    MSG_CMSG_CLOEXEC = socket.MSG_CMSG_CLOEXEC


class SockFlag(NamedFlag):
    """What is or-ed to a socket type and given to accept: socket(2), accept4(2)."""

    SOCK_NONBLOCK = socket.SOCK_NONBLOCK
    SOCK_CLOEXEC = socket.SOCK_CLOEXEC


class OpenFlag(NamedFlag):
    """The status flags of a descriptor (O_RDONLY is 0) and what pipe takes: open(2), pipe(2)."""

    O_WRONLY = os.O_WRONLY
    O_RDWR = os.O_RDWR
    O_APPEND = os.O_APPEND
    O_NONBLOCK = os.O_NONBLOCK
    O_DSYNC = os.O_DSYNC
    O_ASYNC = os.O_ASYNC
    O_DIRECT = os.O_DIRECT
    O_NOATIME = os.O_NOATIME
    O_CLOEXEC = os.O_CLOEXEC
    O_PATH = os.O_PATH


class PollFlag(NamedFlag):
    """What poll waits for and reports: poll(2)."""

    POLLIN = select.POLLIN
    POLLPRI = select.POLLPRI
    POLLOUT = select.POLLOUT
    POLLERR = select.POLLERR
    POLLHUP = select.POLLHUP
    POLLNVAL = select.POLLNVAL
    POLLRDHUP = select.POLLRDHUP


class InterfaceFlag(NamedFlag):
    """The state and abilities of a network interface: netdevice(7)."""

    IFF_UP = 1 << 0
    IFF_BROADCAST = 1 << 1
    IFF_DEBUG = 1 << 2
    IFF_LOOPBACK = 1 << 3
    IFF_POINTOPOINT = 1 << 4
    IFF_NOTRAILERS = 1 << 5
    IFF_RUNNING = 1 << 6
    IFF_NOARP = 1 << 7
    IFF_PROMISC = 1 << 8
    IFF_ALLMULTI = 1 << 9
    IFF_MASTER = 1 << 10
    IFF_SLAVE = 1 << 11
    IFF_MULTICAST = 1 << 12
    IFF_PORTSEL = 1 << 13
    IFF_AUTOMEDIA = 1 << 14
    IFF_DYNAMIC = 1 << 15
    IFF_LOWER_UP = 1 << 16
    IFF_DORMANT = 1 << 17
    IFF_ECHO = 1 << 18


# Options of SOL_UDP that the socket module has no name for (linux/udp.h).
UDP_SEGMENT = 103
UDP_GRO = 104

MSG_OOB = MsgFlag.MSG_OOB
MSG_PEEK = MsgFlag.MSG_PEEK
MSG_DONTROUTE = MsgFlag.MSG_DONTROUTE
MSG_CTRUNC = MsgFlag.MSG_CTRUNC
MSG_TRUNC = MsgFlag.MSG_TRUNC
MSG_DONTWAIT = MsgFlag.MSG_DONTWAIT
MSG_EOR = MsgFlag.MSG_EOR
MSG_WAITALL = MsgFlag.MSG_WAITALL
MSG_CONFIRM = MsgFlag.MSG_CONFIRM
MSG_ERRQUEUE = MsgFlag.MSG_ERRQUEUE
MSG_NOSIGNAL = MsgFlag.MSG_NOSIGNAL
MSG_MORE = MsgFlag.MSG_MORE
MSG_WAITFORONE = MsgFlag.MSG_WAITFORONE
MSG_FASTOPEN = MsgFlag.MSG_FASTOPEN
MSG_CMSG_CLOEXEC = MsgFlag.MSG_CMSG_CLOEXEC
SOCK_NONBLOCK = SockFlag.SOCK_NONBLOCK
SOCK_CLOEXEC = SockFlag.SOCK_CLOEXEC
O_WRONLY = OpenFlag.O_WRONLY
O_RDWR = OpenFlag.O_RDWR
O_APPEND = OpenFlag.O_APPEND
O_NONBLOCK = OpenFlag.O_NONBLOCK
O_DSYNC = OpenFlag.O_DSYNC
O_ASYNC = OpenFlag.O_ASYNC
O_DIRECT = OpenFlag.O_DIRECT
O_NOATIME = OpenFlag.O_NOATIME
O_CLOEXEC = OpenFlag.O_CLOEXEC
O_PATH = OpenFlag.O_PATH
POLLIN = PollFlag.POLLIN
POLLPRI = PollFlag.POLLPRI
POLLOUT = PollFlag.POLLOUT
POLLERR = PollFlag.POLLERR
POLLHUP = PollFlag.POLLHUP
POLLNVAL = PollFlag.POLLNVAL
POLLRDHUP = PollFlag.POLLRDHUP
