from fastsock._csrc cimport fs_addr, int64_t, uint64_t

cdef int fill_addr(fs_addr *addr, int family, object sockaddr) except -1
cdef object addr_object(const fs_addr *addr)
cdef object local_address(int fd)
cdef int raise_code(int code, object what) except -1

cdef int refuse_data(object data) except -1
cdef int64_t time_left(int64_t timeout, uint64_t begun_ns) noexcept
cdef bint wait_ready(int fd, short events, int64_t timeout, uint64_t begun_ns) except -1
