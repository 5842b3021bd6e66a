/* Figures about a running reactor, for any thread. Counters that the reactor writes while we read
 * may be one step apart from each other; each of them is whole. */
#include <string.h>

#include "engine/fs_reactor.h"
#include "engine/fs_state.h"

/* Messages of a connection that went to the kernel. Under lock. */
static uint64_t sent_count(const fs_conn *conn) {
  uint64_t count = conn->settled_count;
  for (const fs_sub *sub = &conn->main; sub; sub = sub->next)
    if (!fs_list_empty(&sub->channel_link)) count += fs_outbox_sent_count(&sub->box);
  return count;
}

static void add_lag(const fs_conn *conn, fs_conn_stats *stats) {
  for (const fs_sub *sub = &conn->main; sub; sub = sub->next) {
    const fs_outbox *box = &sub->box;
    if (fs_list_empty(&sub->channel_link)) continue;
    uint64_t end = fs_min(atomic_load(&box->log->head), atomic_load(&box->end));
    stats->lag_bytes += end - box->cursor;
    stats->lag_messages += fs_log_seq_at(box->log, end) - fs_log_seq_at(box->log, box->cursor);
    stats->outbox_bytes += box->queued_bytes;
  }
}

int fs_reactor_conn_stats(fs_reactor *r, uint64_t handle, fs_conn_stats *stats) {
  uint64_t now_ns = fs_sys_now_ns();
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) {
    uint64_t active_ns =
        fs_max(atomic_load(&conn->last_sent_ns), atomic_load(&conn->last_received_ns));
    *stats = (fs_conn_stats){
        .number = conn->number,
        .age_ns = now_ns - fs_min(now_ns, conn->opened_ns),
        .idle_ns = now_ns - fs_min(now_ns, active_ns),
        .bytes_sent = atomic_load(&conn->bytes_sent),
        .bytes_received = atomic_load(&conn->bytes_received),
        .messages_sent = sent_count(conn),
        .messages_received = atomic_load(&conn->messages_received),
        .dropped = atomic_load(&conn->dropped),
    };
    add_lag(conn, stats);
  }
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}

static const fs_sub *slower_of(const fs_list *subs, const fs_sub *slowest) {
  FS_LIST_EACH(link, subs) {
    const fs_sub *sub = fs_container_of(link, fs_sub, channel_link);
    if (!slowest || sub->box.cursor < slowest->box.cursor) slowest = sub;
  }
  return slowest;
}

int fs_reactor_slowest(fs_reactor *r, uint32_t number, fs_slowest *slowest) {
  pthread_mutex_lock(&r->lock);
  const fs_channel *channel = r->channels[number];
  const fs_sub *sub = slower_of(&channel->joining, slower_of(&channel->subs, NULL));
  if (sub) {
    *slowest = (fs_slowest){
        .handle = sub->conn->handle,
        .number = sub->conn->number,
        .lag_bytes = atomic_load(&channel->log.head) - sub->box.cursor,
        .log_bytes = channel->log.cap,
        .policy = channel->policy,
    };
  }
  pthread_mutex_unlock(&r->lock);
  return sub ? 0 : FS_EGONE;
}

int fs_reactor_peer(fs_reactor *r, uint64_t handle, fs_addr *peer) {
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) memcpy(peer, &conn->peer, fs_addr_size(&conn->peer));
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}

int fs_reactor_local(fs_reactor *r, uint64_t handle, fs_addr *local) {
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  int result = conn && conn->state != FS_DEAD ? fs_sys_local_addr(conn->fd, local) : FS_EGONE;
  pthread_mutex_unlock(&r->lock);
  return result;
}

int fs_reactor_reason(fs_reactor *r, uint64_t handle) {
  pthread_mutex_lock(&r->lock);
  const fs_conn *conn = fs_conns_find(&r->conns, handle);
  int result = !conn                    ? FS_EGONE
               : fs_conn_takes(conn)    ? -EAGAIN
               : conn->state == FS_OPEN ? (int)conn->close_reason
                                        : (int)conn->reason;
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

void fs_reactor_totals(fs_reactor *r, fs_totals *totals) {
  pthread_mutex_lock(&r->lock);
  *totals = (fs_totals){.deliveries = atomic_load(&r->counters.deliveries)};
  FS_LIST_EACH(link, &r->conns.all) {
    const fs_conn *conn = fs_container_of(link, fs_conn, link);
    totals->deliveries += sent_count(conn) - conn->settled_count;
    for (const fs_sub *sub = &conn->main; sub; sub = sub->next)
      totals->queued_bytes += sub->box.queued_bytes;
  }
  for (uint32_t i = 0; i < r->channel_count; i++) {
    const fs_log *log = &r->channels[i]->log;
    totals->messages_published += atomic_load(&log->head_seq) - 1;
    totals->bytes_published += atomic_load(&log->head);
    totals->queued_bytes += atomic_load(&log->head) - atomic_load(&log->tail);
  }
  pthread_mutex_unlock(&r->lock);
}

const fs_counters *fs_reactor_counters(const fs_reactor *r) { return &r->counters; }
