from fastsock.server._connection cimport Connection
from fastsock._csrc cimport fs_slowest

cdef int refuse_for_outbox(str what, object options, Connection conn) except -1
cdef int refuse_for_log(str what, str log, const fs_slowest *last, object peer) except -1
cdef int refuse_ended(Connection conn, int reason) except -1
