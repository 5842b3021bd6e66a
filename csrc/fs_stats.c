/* Figures about a running reactor, for any thread. Counters that the reactor writes while we read
 * may be one step apart from each other; each of them is whole. */
#include "fs_reactor.h"

uint64_t fs_reactor_sent_count(fs_reactor *r, const fs_conn *conn) {
  if (conn->settled) return conn->messages_sent;
  const fs_outbox *box = &conn->outbox;
  uint64_t passed = fs_log_seq_at(&r->log, box->cursor) - conn->first_seq;
  return passed - box->skipped_count + box->inserted_count;
}

int fs_reactor_conn_stats(fs_reactor *r, uint64_t handle, fs_conn_stats *stats) {
  uint64_t now_ns = fs_sys_now_ns();
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) {
    const fs_outbox *box = &conn->outbox;
    bool flowing = conn->state == FS_OPEN || conn->state == FS_CLOSING;
    uint64_t end = fs_min(atomic_load(&r->log.head), box->end);
    *stats = (fs_conn_stats){
        .number = conn->number,
        .age_ns = now_ns - conn->opened_ns,
        .idle_ns = now_ns - fs_min(now_ns, atomic_load(&conn->last_active_ns)),
        .bytes_sent = atomic_load(&conn->bytes_sent),
        .bytes_received = atomic_load(&conn->bytes_received),
        .messages_sent = fs_reactor_sent_count(r, conn),
        .messages_received = atomic_load(&conn->messages_received),
        .lag_bytes = flowing ? end - box->cursor : 0,
        .lag_messages =
            flowing ? fs_log_seq_at(&r->log, end) - fs_log_seq_at(&r->log, box->cursor) : 0,
        .outbox_bytes = box->queued_bytes,
    };
  }
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}

int fs_reactor_peer(fs_reactor *r, uint64_t handle, fs_addr *peer) {
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) *peer = conn->peer;
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}

int fs_reactor_reason(fs_reactor *r, uint64_t handle) {
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  int result = !conn ? FS_EGONE : conn->state == FS_OPEN ? -EAGAIN : (int)conn->reason;
  pthread_mutex_unlock(&r->lock);
  return result;
}

uint32_t fs_reactor_open_handles(fs_reactor *r, uint64_t *handles, uint64_t *numbers,
                                 uint32_t max) {
  uint32_t count = 0;
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->conns.all) {
    const fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state != FS_OPEN) continue;
    if (count < max) {
      handles[count] = conn->handle;
      numbers[count] = conn->number;
    }
    count++;
  }
  pthread_mutex_unlock(&r->lock);
  return count;
}

void fs_reactor_totals(fs_reactor *r, uint64_t *deliveries, uint64_t *queued_bytes) {
  pthread_mutex_lock(&r->lock);
  *deliveries = atomic_load(&r->counters.deliveries);
  *queued_bytes = 0;
  FS_LIST_EACH(link, &r->conns.all) {
    const fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (!conn->settled) *deliveries += fs_reactor_sent_count(r, conn);
    *queued_bytes += conn->outbox.queued_bytes;
  }
  *queued_bytes += atomic_load(&r->log.head) - atomic_load(&r->log.tail);
  pthread_mutex_unlock(&r->lock);
}
