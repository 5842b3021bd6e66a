from fastsock.server._connection cimport Connection
from fastsock._csrc cimport fs_conn_stats, fs_counters, fs_totals

cdef object figures_of_connection(const fs_conn_stats *stats, object peer)
cdef object figures_of_server(const fs_counters *counters, const fs_totals *totals, tuple connections)
