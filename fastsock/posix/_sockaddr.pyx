"""Socket addresses: their Python form and the kernel's.

(host, port) or (host, port, flowinfo, scope_id) for IPv4 and IPv6, where the host is a numeric
address (a scope may follow it: "fe80::1%eth0") or "" for every IPv4 address; a str, bytes or Path
for a UNIX socket, where bytes that begin with NUL are an abstract name and b"" asks bind for one.
"""

import os

from cpython.buffer cimport PyBuffer_Release
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, memset

from fastsock.posix._syscall cimport readable
from fastsock._csrc cimport sa_family_t, sockaddr_in, sockaddr_in6, sockaddr_un

cdef extern from "<arpa/inet.h>" nogil:
    int AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX
    uint16_t htons(uint16_t number)
    uint16_t ntohs(uint16_t number)
    uint32_t htonl(uint32_t number)
    uint32_t ntohl(uint32_t number)
    int inet_pton(int family, const char *text, void *number)
    const char *inet_ntop(int family, const void *number, char *text, socklen_t size)

cdef extern from "io/fs_portable.h" nogil:
    """
    #include <stddef.h>
    #include <sys/un.h>
    enum {
      FS_PATH = offsetof(struct sockaddr_un, sun_path),
      FS_PATH_MAX = sizeof((struct sockaddr_un *)0)->sun_path,
      FS_HARDWARE = offsetof(struct sockaddr_ll, sll_addr),
    };
    """
    int FS_PATH, FS_PATH_MAX, FS_HARDWARE
    int AF_PACKET
    struct sockaddr_ll:
        uint16_t sll_protocol
        int sll_ifindex
        unsigned short sll_hatype
        unsigned char sll_pkttype
        unsigned char sll_halen
        unsigned char *sll_addr

cdef extern from "<net/if.h>" nogil:
    unsigned int if_nametoindex(const char *name)
    char *if_indextoname(unsigned int index, char *name)

Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes | os.PathLike[str]


cdef object number_between(str what, object value, object highest):
    if not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {value!r}")
    if not 0 <= value <= highest:
        raise ValueError(f"{what} must be 0 to {highest}, not {value}")
    return value


cdef uint32_t scope_number(str host, str scope) except? 0:
    """The number of the interface that a scope names."""
    name = os.fsencode(scope)
    cdef uint32_t number = if_nametoindex(name) if b"\0" not in name else 0
    if number == 0 and scope.isdecimal():
        number = number_between("a scope id", int(scope), 0xFFFFFFFF)
    if number == 0:
        raise ValueError(f"no interface is called {scope!r}, the scope of {host!r}")
    return number


cdef int pack_number(int family, str text, void *number) except -1:
    """Fills a struct in_addr or in6_addr."""
    if text.isascii() and "\0" not in text and inet_pton(family, text.encode(), number) == 1:
        return 0
    version = "IPv6" if family == AF_INET6 else "IPv4"
    raise ValueError(f"{text!r} is not a numeric {version} address (fastsock.resolve finds those)")


cdef int pack_inet(tuple address, fs_addr *packed) except -1:
    cdef sockaddr_in *inet = <sockaddr_in *>&packed.any
    inet.sin_port = htons(number_between("a port", address[1], 65535))
    packed.any.sa_family = AF_INET
    packed.len = sizeof(sockaddr_in)
    return pack_number(AF_INET, address[0] or "0.0.0.0", &inet.sin_addr)


cdef int pack_inet6(tuple address, fs_addr *packed) except -1:
    cdef sockaddr_in6 *inet = <sockaddr_in6 *>&packed.any
    host, _, scope = address[0].partition("%")
    flowinfo, scope_id = address[2:] or (0, 0)
    inet.sin6_port = htons(number_between("a port", address[1], 65535))
    inet.sin6_flowinfo = htonl(number_between("flowinfo", flowinfo, 0xFFFFF))
    inet.sin6_scope_id = number_between("a scope id", scope_id, 0xFFFFFFFF)
    packed.any.sa_family = AF_INET6
    packed.len = sizeof(sockaddr_in6)
    pack_number(AF_INET6, host or "::", &inet.sin6_addr)
    if scope:
        inet.sin6_scope_id = scope_number(address[0], scope)
        if scope_id not in (0, inet.sin6_scope_id):
            raise ValueError(f"{address!r} names two scopes: {scope!r} and {scope_id}")
    return 0


cdef int pack_unix(object address, fs_addr *packed) except -1:
    cdef bytes path = os.fsencode(address)
    cdef char *target = (<sockaddr_un *>&packed.any).sun_path
    if isinstance(address, str) and "/" not in address:
        raise ValueError(
            f"{address!r} is neither (host, port) nor a path: "
            f'write ("localhost", 9000), or "./name" for a UNIX socket'
        )
    abstract = path[:1] in (b"", b"\0")
    if not abstract and b"\0" in path:
        raise ValueError(f"a UNIX path has no NUL inside, this one does: {address!r}")
    if len(path) + (not abstract) > FS_PATH_MAX:
        raise ValueError(
            f"a UNIX path has at most {FS_PATH_MAX - 1} bytes, this one has {len(path)}: "
            f"{address!r}"
        )
    memcpy(target, <const char *>path, len(path))
    packed.any.sa_family = AF_UNIX
    packed.len = FS_PATH + len(path) + (not abstract)
    return 0


cdef int address_pack(object address, fs_addr *packed) except -1:
    """Fills packed, or raises TypeError or ValueError and leaves it undefined."""
    memset(packed, 0, sizeof(fs_addr))
    if isinstance(address, (str, bytes, os.PathLike)):
        return pack_unix(address, packed)
    if not (isinstance(address, tuple) and len(address) in (2, 4) and isinstance(address[0], str)):
        raise TypeError(
            "an address is (host, port), (host, port, flowinfo, scope_id) or a path, "
            f"not {address!r}"
        )
    if len(address) == 4 or ":" in address[0]:
        return pack_inet6(address, packed)
    return pack_inet(address, packed)


cdef object unpack_path(const sockaddr *name, socklen_t size):
    cdef const char *path = <const char *>name + FS_PATH
    cdef Py_ssize_t length = <Py_ssize_t>size - FS_PATH
    if length <= 0:
        return ""
    if path[0] == 0:
        return path[:length]
    return os.fsdecode(path[:length].split(b"\0")[0])


cdef object unpack_packet(const sockaddr_ll *link, Py_ssize_t size):
    cdef char name[64]  # IF_NAMESIZE is 16
    known = if_indextoname(link.sll_ifindex, name) != NULL
    hardware = (<const char *>link.sll_addr)[:min(link.sll_halen, size - FS_HARDWARE)]
    return (
        os.fsdecode(<bytes>name) if known else "",
        ntohs(link.sll_protocol),
        link.sll_pkttype,
        link.sll_hatype,
        hardware,
    )


cdef object address_unpack(const sockaddr *name, socklen_t size):
    """The Python form, as the socket module's: None without a name, (family, bytes) for a family
    that has no form here. A size beyond FS_NAME_MAX is what a longer name would have had."""
    cdef char text[64]  # INET6_ADDRSTRLEN is 46
    cdef const sockaddr_in *inet = <const sockaddr_in *>name
    cdef const sockaddr_in6 *inet6 = <const sockaddr_in6 *>name
    size = min(size, FS_NAME_MAX)
    if size < sizeof(sa_family_t) or name.sa_family == AF_UNSPEC:
        return None
    if name.sa_family == AF_INET and size >= sizeof(sockaddr_in):
        inet_ntop(AF_INET, &inet.sin_addr, text, sizeof(text))
        return text.decode("ascii"), ntohs(inet.sin_port)
    if name.sa_family == AF_INET6 and size >= sizeof(sockaddr_in6):
        inet_ntop(AF_INET6, &inet6.sin6_addr, text, sizeof(text))
        return (
            text.decode("ascii"),
            ntohs(inet6.sin6_port),
            ntohl(inet6.sin6_flowinfo),
            inet6.sin6_scope_id,
        )
    if name.sa_family == AF_UNIX:
        return unpack_path(name, size)
    if name.sa_family == AF_PACKET and <int>size >= FS_HARDWARE:
        return unpack_packet(<const sockaddr_ll *>name, size)
    return name.sa_family, (<const char *>name)[sizeof(sa_family_t):size]


def pack_address(address):
    """The kernel's form of an address (a sockaddr), as bytes; a row of what sendmmsg takes."""
    cdef fs_addr packed
    address_pack(address, &packed)
    return (<const char *>&packed.any)[:packed.len]


def unpack_address(packed):
    """The address that a sockaddr stands for, padded with zeros or not; None for zeros alone."""
    cdef Py_buffer view
    cdef fs_addr name
    cdef const char *raw = <const char *>&name.any
    memset(&name, 0, sizeof(name))
    readable(packed, &view)
    name.len = min(view.len, FS_NAME_MAX)
    memcpy(&name.any, view.buf, name.len)
    PyBuffer_Release(&view)
    while name.any.sa_family == AF_UNIX and <int>name.len > FS_PATH and raw[name.len - 1] == 0:
        name.len -= 1
    return address_unpack(&name.any, name.len)
