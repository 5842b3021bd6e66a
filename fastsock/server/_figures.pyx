"""The engine's figures as the records that ``stats()`` returns."""

from fastsock.server.stats import ConnectionStats, ServerStats

from fastsock._csrc cimport fs_conn_stats, fs_counters, fs_totals
from fastsock.server._dispatch cimport REASONS


cdef object figures_of_connection(const fs_conn_stats *stats, object peer):
    return ConnectionStats(
        number=stats.number, peer=peer, age=stats.age_ns / 1e9, idle=stats.idle_ns / 1e9,
        bytes_sent=stats.bytes_sent, bytes_received=stats.bytes_received,
        messages_sent=stats.messages_sent, messages_received=stats.messages_received,
        lag_bytes=stats.lag_bytes, lag_messages=stats.lag_messages,
        outbox_bytes=stats.outbox_bytes, dropped=stats.dropped)


cdef object figures_of_server(const fs_counters *counters, const fs_totals *totals,
                              tuple connections):
    return ServerStats(
        connections=connections,
        accepted=counters.accepted, accept_errors=counters.accept_errors,
        refused=counters.refused,
        messages_published=totals.messages_published,
        bytes_published=totals.bytes_published,
        deliveries=totals.deliveries, dropped=counters.dropped,
        messages_received=counters.messages_received,
        messages_unfinished=counters.unfinished,
        bytes_unheard=counters.unheard,
        bytes_sent=counters.bytes_sent, bytes_received=counters.bytes_received,
        queued_bytes=totals.queued_bytes,
        sends=counters.sends, turns=counters.turns, wakeups=counters.wakeups,
        ended={REASONS[i]: counters.ended[i] for i in range(len(REASONS))
               if counters.ended[i]})
