"""Between C and Python: addresses, arguments and error codes."""

import os

from fastsock.errors import MessageTooBig, ServerClosed

from libc.string cimport memcpy, memset
from fastsock._engine cimport *


cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET, AF_INET6, AF_UNIX
    unsigned short htons(unsigned short)
    unsigned short ntohs(unsigned short)
    int inet_pton(int family, const char *text, void *addr)
    const char *inet_ntop(int family, const void *addr, char *text, unsigned int size)

cdef extern from "<net/if.h>" nogil:
    char *if_indextoname(unsigned int index, char *name)

cdef extern from "<stddef.h>" nogil:
    size_t offsetof_sun_path "offsetof(struct sockaddr_un, sun_path)"


cdef int fill_addr(fs_addr *addr, int family, object sockaddr) except -1:
    """Fills in an address of fastsock.address.resolve, which has checked it."""
    cdef bytes path
    memset(addr, 0, sizeof(fs_addr))
    addr.any.sa_family = <sa_family_t>family
    if family == AF_UNIX:
        path = os.fsencode(sockaddr)
        memcpy(addr.un.sun_path, <const char *>path, len(path) + 1)
        addr.len = <socklen_t>(offsetof_sun_path + len(path) + 1)
        return 0
    host, port, scope_id = sockaddr
    if family == AF_INET:
        addr.in_.sin_port = htons(port)
        addr.len = sizeof(sockaddr_in)
        return inet_pton(AF_INET, host.encode(), &addr.in_.sin_addr)
    addr.in6.sin6_port = htons(port)
    addr.in6.sin6_scope_id = scope_id
    addr.len = sizeof(sockaddr_in6)
    return inet_pton(AF_INET6, host.encode(), &addr.in6.sin6_addr)


cdef object addr_object(const fs_addr *addr):
    """(host, port), or the path of a UNIX socket: '' where it has none."""
    cdef char text[64]
    cdef char name[64]
    if addr.any.sa_family == AF_INET:
        inet_ntop(AF_INET, &addr.in_.sin_addr, text, sizeof(text))
        return text.decode(), ntohs(addr.in_.sin_port)
    if addr.any.sa_family == AF_INET6:
        inet_ntop(AF_INET6, &addr.in6.sin6_addr, text, sizeof(text))
        host = text.decode()
        if addr.in6.sin6_scope_id and if_indextoname(addr.in6.sin6_scope_id, name):
            host += "%" + name.decode()
        return host, ntohs(addr.in6.sin6_port)
    if addr.len <= offsetof_sun_path:
        return ""
    return os.fsdecode(<bytes>addr.un.sun_path[:addr.len - offsetof_sun_path].split(b"\0")[0])


cdef int raise_code(int code, object what) except -1:
    """Raises what a code below zero of the engine stands for; what names the call's subject."""
    if code == FS_ETOOBIG:
        raise MessageTooBig(f"{what} is longer than message_bytes_max")
    if code == FS_ENEWLINE:
        raise ValueError(f"{what} has a newline inside, which line framing cannot carry;"
                         " send lines one by one, or use framing='length'")
    if code == FS_EEMPTY:
        raise ValueError(f"{what}: framing='raw' has no empty messages")
    if code == FS_ECLOSED:
        raise ServerClosed(f"{what}: the server is closed")
    raise OSError(-code, f"{what}: {os.strerror(-code)}")


cdef int refuse_data(object data) except -1:
    if isinstance(data, str):
        raise TypeError("data must be bytes-like, not str: encode it, as in data.encode()")
    raise TypeError(f"data must be bytes-like, not {type(data).__name__}")


cdef int64_t timeout_ns(object timeout) except? -2:
    """Seconds, or None for ever, as nanoseconds, or -1."""
    if timeout is None:
        return -1
    seconds = float(timeout)
    if not seconds >= 0:
        raise ValueError(f"timeout must be None or at least 0 seconds, not {timeout!r}")
    return <int64_t>(min(seconds, 1e9) * 1e9)


cdef int64_t time_left(int64_t timeout, uint64_t begun_ns) noexcept:
    cdef int64_t passed
    if timeout < 0:
        return -1
    passed = <int64_t>(fs_sys_now_ns() - begun_ns)
    return timeout - passed if passed < timeout else 0
