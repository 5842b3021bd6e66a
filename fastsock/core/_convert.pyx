"""Between C and Python: addresses, error codes, time limits and waiting."""

import os

from fastsock.errors import MessageTooBig, ServerClosed

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, ENOMEM

from fastsock.posix._sockaddr cimport address_pack, address_unpack
from fastsock._csrc cimport *


LISTENERS_MAX = FS_LISTENERS_MAX

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET6, AF_UNIX

cdef extern from "<net/if.h>" nogil:
    char *if_indextoname(unsigned int index, char *name)


cdef int fill_addr(fs_addr *addr, int family, object sockaddr) except -1:
    """Fill in an address of fastsock.core.address.resolve, whose paths need no slash."""
    return address_pack(os.fsencode(sockaddr) if family == AF_UNIX else sockaddr, addr)


cdef object addr_object(const fs_addr *addr):
    """Return (host, port), IPv4 mapped into IPv6 being IPv4 again; the path of a UNIX socket, '' if
    it has none; or "@name"."""
    cdef char scope[64]  # IF_NAMESIZE is 16
    found = address_unpack(&addr.any, addr.len)
    if isinstance(found, bytes):
        return "@" + os.fsdecode(found[1:])
    if not isinstance(found, tuple):
        return found if isinstance(found, str) else ""
    host, port = found[:2]
    if host.startswith("::ffff:") and "." in host:
        return host[7:], port
    if addr.any.sa_family == AF_INET6 and if_indextoname(addr.in6.sin6_scope_id, scope):
        host += "%" + scope.decode()
    return host, port


cdef object local_address(int fd):
    """Return the address that a socket is bound to."""
    cdef fs_addr addr
    cdef int result = fs_sys_local_addr(fd, &addr)
    if result < 0:
        raise_code(result, "getsockname")
    return addr_object(&addr)


cdef int raise_code(int code, object what) except -1:
    """Raise what an engine's code below zero stands for; what names the subject of the call."""
    if code == FS_ETOOBIG:
        raise MessageTooBig(f"{what} is longer than message_bytes_max")
    if code == FS_ENEWLINE:
        raise ValueError(f"{what} has a newline inside, which line framing cannot carry;"
                         " send lines one by one, or use framing='length'")
    if code == FS_ERETURN:
        raise ValueError(f"{what} ends in a carriage return, which line framing takes for a part"
                         " of the line's end; strip it, or use framing='length'")
    if code == FS_EEMPTY:
        raise ValueError(f"{what}: framing='raw' has no empty messages")
    if code == FS_ECLOSED:
        raise ServerClosed(f"{what}: the server is closed")
    if code == -ENOMEM:
        raise MemoryError(f"{what}: no memory")
    if code < -4096:
        raise RuntimeError(f"{what}: the engine says {code}, which is a fault of fastsock")
    raise OSError(-code, f"{what}: {os.strerror(-code)}")


cdef int refuse_data(object data) except -1:
    if isinstance(data, str):
        raise TypeError("data must be bytes-like, not str: encode it, as in data.encode()")
    raise TypeError(f"data must be bytes-like, not {type(data).__name__}")


cdef int64_t time_left(int64_t timeout, uint64_t begun_ns) noexcept:
    """Return nanoseconds: 0 if the time is over, -1 for no limit (timeout < 0)."""
    cdef int64_t passed
    if timeout < 0:
        return -1
    passed = <int64_t>(fs_sys_now_ns() - begun_ns)
    return timeout - passed if passed < timeout else 0


cdef bint wait_ready(int fd, short events, int64_t timeout, uint64_t begun_ns) except -1:
    """Wait until fd is ready; False if the time is over first. Signal handlers run."""
    cdef int result
    cdef int64_t left
    while True:
        left = time_left(timeout, begun_ns)
        with nogil:
            result = fs_sys_poll(fd, events, left)
        if result >= 0:
            return result > 0
        if result != -EINTR:
            raise_code(result, "poll")
        PyErr_CheckSignals()
