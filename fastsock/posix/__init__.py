"""The socket calls of POSIX and Linux on plain descriptors, and the batch calls.

Descriptors are ints; data and buffers are anything with contiguous memory, numpy arrays of any
item type included, and are not copied. Addresses are (host, port) with a numeric host, (host,
port, flowinfo, scope_id), or a path. Flags print their names. Every failure is an OSError whose
message names the call, its descriptor and its address. The other constants (AF_INET, SOL_SOCKET,
SO_REUSEADDR, SHUT_WR, F_GETFL ...) are those of the modules socket and fcntl.
"""

from fastsock.posix._batch import recv_each, recvmmsg, send_each, sendmmsg
from fastsock.posix._calls import (
    accept,
    bind,
    close,
    connect,
    fcntl,
    getifaddrs,
    getpeername,
    getsockname,
    getsockopt,
    listen,
    mkfifo,
    pipe,
    poll,
    recv,
    recv_into,
    recvfrom,
    recvfrom_into,
    send,
    sendfile,
    sendto,
    set_nonblocking,
    setsockopt,
    shutdown,
    socket,
    socketpair,
)
from fastsock.posix._sendmsg import recvmsg, recvmsg_into, sendmsg
from fastsock.posix._sockaddr import Address, pack_address, unpack_address
from fastsock.posix.flags import InterfaceFlag, MsgFlag, OpenFlag, PollFlag, SockFlag

__all__ = [
    "MSG_CMSG_CLOEXEC",
    "MSG_CONFIRM",
    "MSG_CTRUNC",
    "MSG_DONTROUTE",
    "MSG_DONTWAIT",
    "MSG_EOR",
    "MSG_ERRQUEUE",
    "MSG_FASTOPEN",
    "MSG_MORE",
    "MSG_NOSIGNAL",
    "MSG_OOB",
    "MSG_PEEK",
    "MSG_TRUNC",
    "MSG_WAITALL",
    "MSG_WAITFORONE",
    "O_APPEND",
    "O_ASYNC",
    "O_CLOEXEC",
    "O_DIRECT",
    "O_DSYNC",
    "O_NOATIME",
    "O_NONBLOCK",
    "O_PATH",
    "O_RDWR",
    "O_WRONLY",
    "POLLERR",
    "POLLHUP",
    "POLLIN",
    "POLLNVAL",
    "POLLOUT",
    "POLLPRI",
    "POLLRDHUP",
    "SOCK_CLOEXEC",
    "SOCK_NONBLOCK",
    "UDP_GRO",
    "UDP_SEGMENT",
    "Address",
    "InterfaceFlag",
    "MsgFlag",
    "OpenFlag",
    "PollFlag",
    "SockFlag",
    "accept",
    "bind",
    "close",
    "connect",
    "fcntl",
    "getifaddrs",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "mkfifo",
    "pack_address",
    "pipe",
    "poll",
    "recv",
    "recv_each",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmmsg",
    "recvmsg",
    "recvmsg_into",
    "send",
    "send_each",
    "sendfile",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_nonblocking",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
    "unpack_address",
]

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
