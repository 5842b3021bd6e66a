"""sendmsg and recvmsg: several buffers and ancillary data in one call."""

from fastsock.posix.flags import MsgFlag

from cpython.buffer cimport PyBuffer_Release
from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from fastsock.posix._sockaddr cimport FS_NAME_MAX, address_pack, address_unpack
from fastsock.posix._syscall cimport (
    Vector,
    byte_count,
    c_int,
    code,
    descriptor,
    failure,
    interrupted,
    vector,
)
from fastsock._csrc cimport fs_addr, socklen_t

cdef extern from "<sys/socket.h>" nogil:
    int MSG_CMSG_CLOEXEC
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *item)
    unsigned char *CMSG_DATA(cmsghdr *item)
    size_t CMSG_LEN(size_t size)
    size_t CMSG_SPACE(size_t size)
    ssize_t c_sendmsg "sendmsg"(int fd, const msghdr *message, int flags)
    ssize_t c_recvmsg "recvmsg"(int fd, msghdr *message, int flags)


cdef bytearray pack_control(object ancillary):
    """The control data for a list of (level, type, data)."""
    cdef list items = list(ancillary)
    cdef Vector held = vector([data for _, _, data in items], False)
    cdef Py_ssize_t i, place = 0
    cdef cmsghdr *item
    for i in range(held.count):
        place += CMSG_SPACE(held.iov[i].iov_len)
    cdef bytearray control = bytearray(place)
    place = 0
    for i in range(held.count):
        item = <cmsghdr *>(PyByteArray_AS_STRING(control) + place)
        item.cmsg_len = CMSG_LEN(held.iov[i].iov_len)
        item.cmsg_level = c_int("level", items[i][0])
        item.cmsg_type = c_int("type", items[i][1])
        memcpy(CMSG_DATA(item), held.iov[i].iov_base, held.iov[i].iov_len)
        place += CMSG_SPACE(held.iov[i].iov_len)
    return control


cdef list unpack_control(msghdr *message):
    cdef list items = []
    cdef cmsghdr *item = CMSG_FIRSTHDR(message)
    while item != NULL:
        data = (<char *>CMSG_DATA(item))[:item.cmsg_len - CMSG_LEN(0)]
        items.append((item.cmsg_level, item.cmsg_type, data))
        item = CMSG_NXTHDR(message, item)
    return items


def sendmsg(fd, buffers, ancillary=(), flags=0, address=None):
    """sendmsg(2): gathers an iterable of buffers into one message; how many bytes went.

    ancillary: an iterable of (level, type, data), for example descriptors to pass on:
    [(SOL_SOCKET, SCM_RIGHTS, array("i", [3, 4]))].
    """
    cdef int number = descriptor(fd)
    cdef int c_flags = c_int("flags", flags)
    cdef Vector held = vector(buffers, False)
    cdef bytearray control = pack_control(ancillary)
    cdef fs_addr packed
    cdef msghdr message
    cdef ssize_t result
    memset(&message, 0, sizeof(message))
    message.msg_iov, message.msg_iovlen = held.iov, held.count
    if len(control) > 0:
        message.msg_control = PyByteArray_AS_STRING(control)
        message.msg_controllen = len(control)
    if address is not None:
        address_pack(address, &packed)
        message.msg_name, message.msg_namelen = &packed.any, packed.len
    while True:
        with nogil:
            result = code(c_sendmsg(number, &message, c_flags))
        if not interrupted(result):
            break
    if result < 0:
        raise failure("sendmsg", result, (fd,) if address is None else (fd, address))
    return result


cdef tuple receive_message(
    str call, object fd, Vector into, Py_ssize_t ancillary_size, int flags
):
    """(bytes received, ancillary data, MsgFlag, address of the sender)."""
    cdef int number = descriptor(fd)
    cdef bytearray control = bytearray(ancillary_size)
    cdef fs_addr sender
    cdef msghdr message
    cdef ssize_t result
    memset(&message, 0, sizeof(message))
    message.msg_iov, message.msg_iovlen = into.iov, into.count
    message.msg_name = &sender.any
    message.msg_control = PyByteArray_AS_STRING(control)
    while True:
        message.msg_namelen = FS_NAME_MAX
        message.msg_controllen = ancillary_size
        with nogil:
            result = code(c_recvmsg(number, &message, flags | MSG_CMSG_CLOEXEC))
        if not interrupted(result):
            break
    if result < 0:
        raise failure(call, result, (fd,))
    name = address_unpack(&sender.any, message.msg_namelen)
    # The kernel repeats the flag that was added above.
    message_flags = MsgFlag(message.msg_flags & ~MSG_CMSG_CLOEXEC)
    return result, unpack_control(&message), message_flags, name


def recvmsg(fd, size, ancillary_size=0, flags=0):
    """recvmsg(2): (bytes, ancillary data, MsgFlag, address of the sender).

    ancillary_size: room for control data, see socket.CMSG_SPACE; MSG_CTRUNC in the flags says that
    it was too small. Descriptors that come along are the caller's to close, and close-on-exec.
    """
    cdef Py_ssize_t c_size = byte_count("size", size)
    cdef Py_ssize_t c_ancillary_size = byte_count("ancillary_size", ancillary_size)
    cdef int c_flags = c_int("flags", flags)
    cdef bytearray data = bytearray(c_size)
    count, ancillary, message_flags, sender = receive_message(
        "recvmsg", fd, vector((data,), True), c_ancillary_size, c_flags
    )
    return bytes(memoryview(data)[:count]), ancillary, message_flags, sender


def recvmsg_into(fd, buffers, ancillary_size=0, flags=0):
    """recvmsg(2) scattered into an iterable of writable buffers: (how many bytes came, ancillary
    data, MsgFlag, address of the sender)."""
    cdef Py_ssize_t c_ancillary_size = byte_count("ancillary_size", ancillary_size)
    cdef int c_flags = c_int("flags", flags)
    return receive_message("recvmsg_into", fd, vector(buffers, True), c_ancillary_size, c_flags)
