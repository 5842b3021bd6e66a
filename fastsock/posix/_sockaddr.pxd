"""Socket addresses: their Python form and the kernel's."""

from fastsock._csrc cimport fs_addr, sockaddr, socklen_t

cdef extern from "io/fs_sys.h" nogil:
    """
    enum { FS_NAME_MAX = sizeof(fs_addr) - offsetof(fs_addr, any) };
    """
    socklen_t FS_NAME_MAX

cdef int address_pack(object address, fs_addr *packed) except -1
cdef object address_unpack(const sockaddr *name, socklen_t size)
