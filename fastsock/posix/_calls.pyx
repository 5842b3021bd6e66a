"""The socket calls of POSIX and Linux on plain descriptors.

Each function makes one system call of its name (again after a signal, PEP 475) and raises OSError
with the call, its descriptor and its address in the message. What may block runs without the GIL;
a call with MSG_DONTWAIT keeps it, since it costs less than handing the GIL over. Descriptors are
born close-on-exec (PEP 446).
"""

import os
import socket as std

from fastsock.posix.flags import InterfaceFlag, OpenFlag, PollFlag

from cpython.buffer cimport PyBuffer_Release
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport PyObject, Py_XDECREF
from libc.errno cimport EAFNOSUPPORT, EBADF, EINTR, EINVAL
from libc.stdint cimport INT16_MAX, INT64_MAX, int64_t
from posix.fcntl cimport F_GETFD, F_GETFL, F_SETFD, F_SETFL, O_CLOEXEC
from posix.ioctl cimport ioctl
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.types cimport mode_t, off_t

from fastsock.posix._sockaddr cimport FS_NAME_MAX, address_pack, address_unpack
from fastsock.posix._syscall cimport (
    byte_count,
    c_int,
    code,
    descriptor,
    failure,
    interrupted,
    number_in,
    readable,
    timeout_ns,
    writable,
)
from fastsock._csrc cimport fs_addr, sockaddr, socklen_t

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "<sys/socket.h>" nogil:
    int AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, SO_DOMAIN
    int c_socket "socket"(int family, int type, int protocol)
    int c_socketpair "socketpair"(int family, int type, int protocol, int *fds)
    int c_bind "bind"(int fd, const sockaddr *name, socklen_t size)
    int c_listen "listen"(int fd, int backlog)
    int accept4(int fd, sockaddr *peer, socklen_t *size, int flags)
    int c_connect "connect"(int fd, const sockaddr *peer, socklen_t size)
    int c_getsockname "getsockname"(int fd, sockaddr *name, socklen_t *size)
    int c_getpeername "getpeername"(int fd, sockaddr *peer, socklen_t *size)
    int c_getsockopt "getsockopt"(int fd, int level, int option, void *value, socklen_t *size)
    int c_setsockopt "setsockopt"(int fd, int level, int option, const void *value, socklen_t size)
    int c_shutdown "shutdown"(int fd, int how)
    ssize_t c_sendto "sendto"(
        int fd, const void *data, size_t size, int flags, const sockaddr *to, socklen_t to_size
    )
    ssize_t c_recvfrom "recvfrom"(
        int fd, void *data, size_t size, int flags, sockaddr *sender, socklen_t *sender_size
    )

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t c_sendfile "sendfile"(int out_fd, int in_fd, off_t *offset, size_t count)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)
    int pipe2(int *fds, int flags)

cdef extern from "<fcntl.h>" nogil:
    int c_fcntl "fcntl"(int fd, int command, int argument)

cdef extern from "<sys/ioctl.h>" nogil:
    int FIONBIO

cdef extern from "<sys/stat.h>" nogil:
    int c_mkfifo "mkfifo"(const char *path, mode_t mode)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask)

cdef extern from "<ifaddrs.h>" nogil:
    struct ifaddrs:
        ifaddrs *ifa_next
        char *ifa_name
        unsigned int ifa_flags
        sockaddr *ifa_addr
        sockaddr *ifa_netmask
        sockaddr *ifa_dstaddr
    int c_getifaddrs "getifaddrs"(ifaddrs **first)
    void freeifaddrs(ifaddrs *first)


# --- descriptors ---------------------------------------------------------------------------------


def socket(family, type, protocol=0):
    """socket(2): a new socket, as a descriptor."""
    cdef int c_family = c_int("family", family)
    cdef int c_type = c_int("type", type)
    cdef int c_protocol = c_int("protocol", protocol)
    cdef int fd = code(c_socket(c_family, c_type | SOCK_CLOEXEC, c_protocol))
    if fd < 0:
        raise failure("socket", fd, (c_family, c_type))
    return fd


def socketpair(family=AF_UNIX, type=SOCK_STREAM, protocol=0):
    """socketpair(2): two descriptors of connected sockets."""
    cdef int c_family = c_int("family", family)
    cdef int c_type = c_int("type", type)
    cdef int c_protocol = c_int("protocol", protocol)
    cdef int fds[2]
    cdef int result = code(c_socketpair(c_family, c_type | SOCK_CLOEXEC, c_protocol, fds))
    if result < 0:
        raise failure("socketpair", result, (c_family, c_type))
    return fds[0], fds[1]


def pipe(flags=0):
    """pipe2(2): (descriptor to read from, descriptor to write to)."""
    cdef int c_flags = c_int("flags", flags)
    cdef int fds[2]
    cdef int result = code(pipe2(fds, c_flags | O_CLOEXEC))
    if result < 0:
        raise failure("pipe", result, (c_flags,))
    return fds[0], fds[1]


def close(fd):
    """close(2). Never made again after a signal: the descriptor is gone whatever it returns."""
    cdef int number = descriptor(fd)
    cdef int result
    with nogil:
        result = code(c_close(number))
    if result < 0 and result != -EINTR:
        raise failure("close", result, (fd,))


def fcntl(fd, command, argument=0):
    """fcntl(2) for the flags of a descriptor: F_GETFL (an OpenFlag), F_SETFL, F_GETFD, F_SETFD."""
    cdef int c_command = c_int("command", command)
    cdef int c_argument = c_int("argument", argument)
    if c_command not in (F_GETFL, F_SETFL, F_GETFD, F_SETFD):
        raise ValueError(f"fcntl takes F_GETFL, F_SETFL, F_GETFD or F_SETFD, not {c_command}")
    cdef int result = code(c_fcntl(descriptor(fd), c_command, c_argument))
    if result < 0:
        raise failure("fcntl", result, (fd,))
    return OpenFlag(result) if c_command == F_GETFL else result


def set_nonblocking(fd, bint on=True):
    """Makes calls on fd fail with BlockingIOError instead of waiting, or undoes it: ioctl(2)."""
    cdef int value = on
    cdef int result = code(ioctl(descriptor(fd), FIONBIO, &value))
    if result < 0:
        raise failure("set_nonblocking", result, (fd,))


def mkfifo(path, mode=0o666):
    """mkfifo(3): a named pipe at path, its mode lessened by the umask."""
    cdef mode_t c_mode = number_in("mode", mode, 0, 0o7777)
    cdef bytes name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"a path has no NUL inside, this one does: {path!r}")
    cdef const char *c_name = name
    cdef int result
    with nogil:
        result = code(c_mkfifo(c_name, c_mode))
    if result < 0:
        raise failure("mkfifo", result, (path,))


# --- names and connections -----------------------------------------------------------------------


cdef object address_failure(str call, int result, object fd, object address, fs_addr *packed):
    """As failure; it also says so when the address and the socket are of two families."""
    cdef int family
    cdef socklen_t size = sizeof(family)
    error = failure(call, result, (fd, address))
    if result in (-EINVAL, -EAFNOSUPPORT):
        if c_getsockopt(descriptor(fd), SOL_SOCKET, SO_DOMAIN, &family, &size) == 0:
            if family != packed.any.sa_family:
                error.strerror += f", but the socket is {std.AddressFamily(family).name}"
    return error


def bind(fd, address):
    """bind(2): gives the socket its address; port 0 asks for any free one."""
    cdef fs_addr packed
    address_pack(address, &packed)
    cdef int result = code(c_bind(descriptor(fd), &packed.any, packed.len))
    if result < 0:
        raise address_failure("bind", result, fd, address, &packed)


def listen(fd, backlog=std.SOMAXCONN):
    """listen(2): makes the socket accept connections, with room for backlog that wait."""
    cdef int c_backlog = c_int("backlog", backlog)
    cdef int result = code(c_listen(descriptor(fd), c_backlog))
    if result < 0:
        raise failure("listen", result, (fd,))


def accept(fd, flags=0):
    """accept4(2): (descriptor, address) of the next connection; SOCK_NONBLOCK may be asked for."""
    cdef int c_flags = c_int("flags", flags)
    cdef int number = descriptor(fd)
    cdef int result
    cdef fs_addr peer
    while True:
        peer.len = FS_NAME_MAX
        with nogil:
            result = code(accept4(number, &peer.any, &peer.len, c_flags | SOCK_CLOEXEC))
        if not interrupted(result):
            break
    if result < 0:
        raise failure("accept", result, (fd,))
    return result, address_unpack(&peer.any, peer.len)


def connect(fd, address):
    """connect(2): connects the socket, or sets the peer of a datagram socket."""
    cdef fs_addr packed
    cdef int number = descriptor(fd)
    cdef int result
    address_pack(address, &packed)
    while True:
        # Linux takes the repeated call as waiting for the connection that it goes on making.
        with nogil:
            result = code(c_connect(number, &packed.any, packed.len))
        if not interrupted(result):
            break
    if result < 0:
        raise address_failure("connect", result, fd, address, &packed)


def getsockname(fd):
    """getsockname(2): the address that the socket is bound to."""
    cdef fs_addr name
    name.len = FS_NAME_MAX
    cdef int result = code(c_getsockname(descriptor(fd), &name.any, &name.len))
    if result < 0:
        raise failure("getsockname", result, (fd,))
    return address_unpack(&name.any, name.len)


def getpeername(fd):
    """getpeername(2): the address that the socket is connected to."""
    cdef fs_addr name
    name.len = FS_NAME_MAX
    cdef int result = code(c_getpeername(descriptor(fd), &name.any, &name.len))
    if result < 0:
        raise failure("getpeername", result, (fd,))
    return address_unpack(&name.any, name.len)


def shutdown(fd, how):
    """shutdown(2): ends receiving (SHUT_RD), sending (SHUT_WR) or both (SHUT_RDWR)."""
    cdef int c_how = c_int("how", how)
    cdef int result = code(c_shutdown(descriptor(fd), c_how))
    if result < 0:
        raise failure("shutdown", result, (fd,))


def getsockopt(fd, level, option, size=0):
    """getsockopt(2): an option's int; with size, its bytes, at most that many."""
    cdef int c_level = c_int("level", level)
    cdef int c_option = c_int("option", option)
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef int number = 0
    cdef bytearray value = bytearray(c_size)
    cdef void *target = &number if c_size == 0 else <void *>PyByteArray_AS_STRING(value)
    cdef socklen_t length = sizeof(number) if c_size == 0 else <socklen_t>c_size
    cdef int result = code(c_getsockopt(descriptor(fd), c_level, c_option, target, &length))
    if result < 0:
        raise failure("getsockopt", result, (fd, c_level, c_option))
    return number if c_size == 0 else bytes(value[:length])


def setsockopt(fd, level, option, value):
    """setsockopt(2): sets an option to an int, or to the bytes of a C structure."""
    cdef int c_level = c_int("level", level)
    cdef int c_option = c_int("option", option)
    cdef int number = descriptor(fd)
    cdef int result, small
    cdef Py_buffer view
    if isinstance(value, int):
        small = c_int("value", value)
        result = code(c_setsockopt(number, c_level, c_option, &small, sizeof(small)))
    else:
        readable(value, &view)
        result = code(c_setsockopt(number, c_level, c_option, view.buf, <socklen_t>view.len))
        PyBuffer_Release(&view)
    if result < 0:
        raise failure("setsockopt", result, (fd, c_level, c_option))


# --- sending -------------------------------------------------------------------------------------


cdef ssize_t transmit(
    int fd, const void *data, size_t size, int flags, const sockaddr *to, socklen_t to_size
) except? -1:
    cdef ssize_t result
    while True:
        if flags & MSG_DONTWAIT:
            result = code(c_sendto(fd, data, size, flags, to, to_size))
        else:
            with nogil:
                result = code(c_sendto(fd, data, size, flags, to, to_size))
        if not interrupted(result):
            return result


def send(fd, data, flags=0):
    """send(2): how many bytes of data the kernel took; data is anything contiguous."""
    cdef int c_flags = c_int("flags", flags)
    cdef Py_buffer view
    cdef int number = descriptor(fd)
    cdef ssize_t result
    readable(data, &view)
    try:
        result = transmit(number, view.buf, view.len, c_flags, NULL, 0)
    finally:
        PyBuffer_Release(&view)
    if result < 0:
        raise failure("send", result, (fd,))
    return result


def sendto(fd, data, address, flags=0):
    """sendto(2): sends a datagram to address; how many bytes the kernel took."""
    cdef int c_flags = c_int("flags", flags)
    cdef Py_buffer view
    cdef fs_addr packed
    cdef int number = descriptor(fd)
    cdef ssize_t result
    address_pack(address, &packed)
    readable(data, &view)
    try:
        result = transmit(number, view.buf, view.len, c_flags, &packed.any, packed.len)
    finally:
        PyBuffer_Release(&view)
    if result < 0:
        raise address_failure("sendto", result, fd, address, &packed)
    return result


def sendfile(out_fd, in_fd, offset, count):
    """sendfile(2): sends count bytes of the file in_fd from offset on (None: from its position).

    Returns how many bytes went, 0 at the end of the file; nothing passes through this process.
    """
    cdef size_t c_count = number_in("count", count, 0, PY_SSIZE_T_MAX)
    cdef int out_number = descriptor(out_fd)
    cdef int in_number = descriptor(in_fd)
    cdef off_t start = 0 if offset is None else number_in("offset", offset, 0, INT64_MAX)
    cdef off_t *where = NULL if offset is None else &start
    cdef ssize_t result
    while True:
        with nogil:
            result = code(c_sendfile(out_number, in_number, where, c_count))
        if not interrupted(result):
            break
    if result < 0:
        raise failure("sendfile", result, (out_fd, in_fd))
    return result


# --- receiving -----------------------------------------------------------------------------------


cdef ssize_t receive(int fd, void *data, size_t size, int flags, fs_addr *sender) except? -1:
    cdef sockaddr *name = NULL if sender == NULL else &sender.any
    cdef socklen_t *name_size = NULL if sender == NULL else &sender.len
    cdef ssize_t result
    while True:
        if sender != NULL:
            sender.len = FS_NAME_MAX
        if flags & MSG_DONTWAIT:
            result = code(c_recvfrom(fd, data, size, flags, name, name_size))
        else:
            with nogil:
                result = code(c_recvfrom(fd, data, size, flags, name, name_size))
        if not interrupted(result):
            return result


cdef bytes receive_bytes(str call, object fd, Py_ssize_t size, int flags, fs_addr *sender):
    cdef int number = descriptor(fd)
    cdef ssize_t result
    cdef PyObject *data = PyBytes_FromStringAndSize(NULL, size)
    try:
        result = receive(number, PyBytes_AS_STRING(<bytes>data), size, flags, sender)
        if result < 0:
            raise failure(call, result, (fd,))
        # With MSG_TRUNC the kernel counts what did not fit, too.
        _PyBytes_Resize(&data, min(result, size))
        return <bytes>data
    finally:
        Py_XDECREF(data)


cdef ssize_t receive_into(
    str call, object fd, object buffer, Py_ssize_t size, int flags, fs_addr *sender
) except? -1:
    cdef int number = descriptor(fd)
    cdef ssize_t result
    cdef Py_buffer view
    writable(buffer, &view)
    try:
        if not 0 <= size <= view.len:
            raise ValueError(f"{call} has a buffer of {view.len} bytes, and no room for {size}")
        result = receive(number, view.buf, size or view.len, flags, sender)
    finally:
        PyBuffer_Release(&view)
    if result < 0:
        raise failure(call, result, (fd,))
    return result


def recv(fd, size, flags=0):
    """recv(2): at most size bytes; b"" at the end of a stream."""
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef int c_flags = c_int("flags", flags)
    return receive_bytes("recv", fd, c_size, c_flags, NULL)


def recv_into(fd, buffer, size=0, flags=0):
    """recv(2) into anything contiguous and writable: how many bytes came, at most size or all
    that fit; 0 at the end of a stream."""
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef int c_flags = c_int("flags", flags)
    return receive_into("recv_into", fd, buffer, c_size, c_flags, NULL)


def recvfrom(fd, size, flags=0):
    """recvfrom(2): (bytes, address of the sender); the address is None on a connected stream."""
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef int c_flags = c_int("flags", flags)
    cdef fs_addr sender
    data = receive_bytes("recvfrom", fd, c_size, c_flags, &sender)
    return data, address_unpack(&sender.any, sender.len)


def recvfrom_into(fd, buffer, size=0, flags=0):
    """recvfrom(2) into a buffer, as recv_into: (how many bytes came, address of the sender)."""
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef int c_flags = c_int("flags", flags)
    cdef fs_addr sender
    count = receive_into("recvfrom_into", fd, buffer, c_size, c_flags, &sender)
    return count, address_unpack(&sender.any, sender.len)


# --- waiting -------------------------------------------------------------------------------------


cdef int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000000000 + now.tv_nsec


cdef int64_t deadline_ns(object timeout) except -1:
    """The moment at which a timeout in seconds ends; INT64_MAX without one."""
    cdef int64_t left = timeout_ns(timeout)
    return INT64_MAX if left < 0 else now_ns() + left


cdef int wait(pollfd *fds, Py_ssize_t count, int64_t deadline) except? -1:
    """ppoll(2) until the deadline, through signals: how many are ready, or -errno."""
    cdef timespec left
    cdef int64_t left_ns
    cdef int result
    while True:
        left_ns = max(0, deadline - now_ns())
        left.tv_sec, left.tv_nsec = left_ns // 1000000000, left_ns % 1000000000
        with nogil:
            result = code(ppoll(fds, count, NULL if deadline == INT64_MAX else &left, NULL))
        if not interrupted(result):
            return result


def poll(fds, timeout=None):
    """ppoll(2): waits until one of the descriptors is ready.

    fds: pairs of (descriptor, PollFlag); timeout: seconds, None waits for ever.
    Returns a list of (descriptor, PollFlag) of those that are ready, empty after the timeout.
    """
    cdef list pairs = list(fds)
    cdef int64_t deadline = deadline_ns(timeout)
    cdef Py_ssize_t i, count = len(pairs)
    cdef int result
    cdef pollfd *c_fds = <pollfd *>PyMem_Calloc(count, sizeof(pollfd))
    if c_fds == NULL:
        raise MemoryError()
    try:
        for i in range(count):
            fd, events = pairs[i]
            c_fds[i].fd = descriptor(fd)
            c_fds[i].events = number_in("events", events, 0, INT16_MAX)
            if c_fds[i].fd < 0:
                raise failure("poll", -EBADF, (fd,))
        result = wait(c_fds, count, deadline)
        if result < 0:
            raise failure("poll", result, ([fd for fd, _ in pairs],))
        return [
            (c_fds[i].fd, PollFlag(c_fds[i].revents)) for i in range(count) if c_fds[i].revents
        ]
    finally:
        PyMem_Free(c_fds)


# --- interfaces ----------------------------------------------------------------------------------


cdef object interface_address(const sockaddr *name):
    # The C library keeps each of these in as many bytes as the longest kind, AF_PACKET, has.
    return None if name == NULL else address_unpack(name, 36)


def getifaddrs():
    """getifaddrs(3): a tuple (interface, InterfaceFlag, family, address, netmask, broadcast or
    peer address) for each address of each interface; None stands for what is not there."""
    cdef ifaddrs *first = NULL
    cdef ifaddrs *item
    cdef int result
    with nogil:
        result = code(c_getifaddrs(&first))
    if result < 0:
        raise failure("getifaddrs", result, ())
    found = []
    item = first
    try:
        while item != NULL:
            found.append((
                os.fsdecode(item.ifa_name),
                InterfaceFlag(item.ifa_flags),
                std.AF_UNSPEC if item.ifa_addr == NULL else item.ifa_addr.sa_family,
                interface_address(item.ifa_addr),
                interface_address(item.ifa_netmask),
                interface_address(item.ifa_dstaddr),
            ))
            item = item.ifa_next
    finally:
        freeifaddrs(first)
    return found
