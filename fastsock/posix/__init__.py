"""The socket calls of POSIX and Linux on plain descriptors, and the batch calls.

Descriptors are ints; data and buffers are anything with contiguous memory, numpy arrays of any
item type included, and are not copied. Addresses are (host, port) with a numeric host, (host,
port, flowinfo, scope_id), or a path. Flags print their names. Every failure is an OSError whose
message names the call, its descriptor and its address. The other constants (AF_INET, SOL_SOCKET,
SO_REUSEADDR, SHUT_WR, F_GETFL ...) are those of the modules socket and fcntl.
"""

from fastsock._lazy import importer, names_of

# For type checkers, __init__.pyi says the same.
_HOMES = {
    "fastsock.posix._batch": "recv_each recvmmsg send_each sendmmsg",
    "fastsock.posix._calls": (
        "accept bind close connect fcntl getifaddrs getpeername getsockname getsockopt "
        "listen mkfifo pipe poll recv recv_into recvfrom recvfrom_into send sendfile "
        "sendto set_nonblocking setsockopt shutdown socket socketpair"
    ),
    "fastsock.posix._sendmsg": "recvmsg recvmsg_into sendmsg",
    "fastsock.posix._sockaddr": "Address pack_address unpack_address",
    "fastsock.posix.flags": (
        "InterfaceFlag MsgFlag OpenFlag PollFlag SockFlag UDP_SEGMENT UDP_GRO MSG_OOB "
        "MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL "
        "MSG_CONFIRM MSG_ERRQUEUE MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_FASTOPEN "
        "MSG_CMSG_CLOEXEC SOCK_NONBLOCK SOCK_CLOEXEC O_WRONLY O_RDWR O_APPEND O_NONBLOCK "
        "O_DSYNC O_ASYNC O_DIRECT O_NOATIME O_CLOEXEC O_PATH POLLIN POLLPRI POLLOUT "
        "POLLERR POLLHUP POLLNVAL POLLRDHUP"
    ),
}

__all__ = names_of(_HOMES)

__getattr__ = importer(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
