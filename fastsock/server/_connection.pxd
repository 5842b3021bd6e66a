from fastsock._csrc cimport uint32_t, uint64_t


cdef class Connection


cdef class Channel


cdef class Host:
    cdef object publish(self, uint32_t channel, data, Connection exclude, timeout)
    cdef object publish_many(self, uint32_t channel, messages, timeout)
    cdef bint subscribe(self, Channel channel, Connection conn, timeout) except -1
    cdef bint unsubscribe(self, Channel channel, Connection conn) except -1
    cdef bint send_to(self, Connection conn, object data, timeout) except -1
    cdef int close_one(self, Connection conn) except -1
    cdef int trust(self, Connection conn) except -1
    cdef object peer_of(self, uint64_t handle)
    cdef object local_of(self, Connection conn)
    cdef object connection_stats(self, Connection conn)


cdef class Connection:
    cdef Host engine
    cdef uint64_t handle
    cdef readonly uint64_t number
    cdef readonly object reason
    cdef bint closing  # by this program: its messages are no longer reported
    cdef public object context
    cdef object _peer


cdef class Channel:
    cdef Host engine
    cdef uint32_t number
    cdef readonly str name
