/* Flushing: what the log and the outboxes hold goes to the kernels; then connections end.
 *
 * A flush of the log walks all connections, a flush of direct messages only those that have some.
 * The head is read once per walk: all edits below it were recorded before it was published, so a
 * connection without edits is flushed without a lock.
 */
#include "fs_reactor.h"

/* ---- Sending ---- */

/* Notes how many messages went to the kernel, while the log still knows. */
static void settle(fs_reactor *r, fs_conn *conn) {
  if (conn->settled) return;
  conn->messages_sent = fs_reactor_sent_count(r, conn);
  conn->settled = true;
  fs_count(&r->counters.deliveries, conn->messages_sent);
}

static void block(fs_reactor *r, fs_conn *conn, bool progress) {
  conn->blocked = true;
  r->blocked_count++;
  if (progress || conn->blocked_ns == 0) conn->blocked_ns = r->now_ns;
}

/* It cannot send any more; what it had sent us before that may still be read. */
static void break_off(fs_reactor *r, fs_conn *conn, int error) {
  if (conn->peer_eof || conn->state != FS_OPEN) {
    fs_flush_kill(r, conn, fs_reason_of_error(error));
    return;
  }
  pthread_mutex_lock(&r->lock);
  settle(r, conn);
  conn->reason = fs_reason_of_error(error);
  conn->state = FS_BROKEN;
  fs_outbox_fini(&conn->outbox);
  r->open_count--;
  pthread_mutex_unlock(&r->lock);
  r->tail_stale = true;
  conn->hung_up = true;
  conn->linger_deadline_ns = r->now_ns + r->config.linger_ns;
  fs_list_push(&r->lingering, &conn->linger_link);
  fs_reactor_enlist(&r->ready, &conn->ready_link);
}

/* Sends up to FS_FLUSH_BYTES; *offered is what there was to send. */
static ssize_t send_log(fs_conn *conn, uint64_t head, size_t *offered) {
  fs_outbox *box = &conn->outbox;
  uint64_t limit = fs_min(head, box->end);
  *offered = limit > box->cursor ? fs_min((size_t)(limit - box->cursor), FS_FLUSH_BYTES) : 0;
  if (*offered == 0) return 0;
  ssize_t sent = fs_sys_send(conn->fd, fs_log_at(box->log, box->cursor), *offered);
  if (sent > 0) box->cursor += (uint64_t)sent;
  return sent;
}

static ssize_t send_edited(fs_reactor *r, fs_conn *conn, size_t *offered) {
  struct iovec iov[FS_IOV_MAX];
  pthread_mutex_lock(&r->lock);
  int used = fs_outbox_gather(&conn->outbox, atomic_load(&r->log.head), FS_FLUSH_BYTES, iov,
                              FS_IOV_MAX, offered);
  pthread_mutex_unlock(&r->lock);
  ssize_t sent = used ? fs_sys_sendv(conn->fd, iov, used) : 0;
  if (sent < 0) return sent;
  pthread_mutex_lock(&r->lock);
  fs_outbox_advance(&conn->outbox, (size_t)sent);
  pthread_mutex_unlock(&r->lock);
  return sent;
}

static void count_sent(fs_reactor *r, fs_conn *conn, size_t sent) {
  fs_count(&conn->bytes_sent, sent);
  fs_count(&r->counters.bytes_sent, sent);
  fs_count(&r->counters.sends, 1);
  atomic_store_explicit(&conn->last_active_ns, r->now_ns, memory_order_relaxed);
}

/* All that a closing connection had is with the kernel. */
static void flushed_closing(fs_reactor *r, fs_conn *conn) {
  if (conn->peer_eof || fs_sys_shutdown_write(conn->fd) < 0) {
    fs_flush_kill(r, conn, conn->reason);
    return;
  }
  pthread_mutex_lock(&r->lock);
  settle(r, conn);
  conn->state = FS_SHUT;
  pthread_mutex_unlock(&r->lock);
  r->tail_stale = true;
  fs_reactor_enlist(&r->ready, &conn->ready_link);
}

static bool has_more(const fs_conn *conn, uint64_t head) {
  return conn->outbox.cursor < fs_min(head, conn->outbox.end) || atomic_load(&conn->outbox.count);
}

static void flush_one(fs_reactor *r, fs_conn *conn, uint64_t head) {
  if (conn->blocked || (conn->state != FS_OPEN && conn->state != FS_CLOSING)) return;
  uint64_t before = conn->outbox.cursor;
  size_t offered;
  bool edited = atomic_load(&conn->outbox.count) > 0;
  ssize_t sent = edited ? send_edited(r, conn, &offered) : send_log(conn, head, &offered);
  if (sent < 0 && sent != -EAGAIN) {
    break_off(r, conn, (int)sent);
    return;
  }
  if (before != conn->outbox.cursor && before == atomic_load(&r->log.tail)) r->tail_stale = true;
  if (sent > 0) count_sent(r, conn, (size_t)sent);
  if (offered > 0 && sent < (ssize_t)offered) {
    block(r, conn, sent > 0);
    return;
  }
  conn->blocked_ns = 0;
  if (has_more(conn, head))
    fs_reactor_enlist(&r->pending, &conn->pending_link);
  else if (conn->state == FS_CLOSING)
    flushed_closing(r, conn);
}

/* ---- The walk ---- */

/* What other threads asked for: messages to single connections, and closes. */
static void take_dirty(fs_reactor *r) {
  for (;;) {
    pthread_mutex_lock(&r->lock);
    fs_list *link = r->dirty.next;
    bool empty = link == &r->dirty;
    if (!empty) fs_list_remove(link);
    pthread_mutex_unlock(&r->lock);
    if (empty) return;
    fs_conn *conn = fs_container_of(link, fs_conn, dirty_link);
    fs_reactor_enlist(&r->pending, &conn->pending_link);
    if (conn->close_wanted && conn->state == FS_OPEN) fs_flush_close(r, conn, conn->close_reason);
  }
}

static void flush_pending(fs_reactor *r, uint64_t head) {
  fs_list batch;
  fs_list_take(&batch, &r->pending);
  FS_LIST_EACH(link, &batch) {
    fs_list_remove(link);
    flush_one(r, fs_container_of(link, fs_conn, pending_link), head);
  }
}

/* The tail is where the cursor of the last one is. */
static void move_tail(fs_reactor *r) {
  uint64_t tail = atomic_load(&r->log.head);
  FS_LIST_EACH(link, &r->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state == FS_OPEN || conn->state == FS_CLOSING)
      tail = fs_min(tail, conn->outbox.cursor);
  }
  fs_log_trim(&r->log, tail);
  r->tail_stale = false;
}

/* Speakers that found no room are read again. */
static void resume_stalled(fs_reactor *r) {
  FS_LIST_EACH(link, &r->stalled) {
    fs_list_remove(link);
    fs_list_push(&r->ready, link);
  }
}

void fs_flush_all(fs_reactor *r) {
  uint64_t sent_before = atomic_load(&r->counters.bytes_sent);
  take_dirty(r);
  uint64_t head = atomic_load(&r->log.head);
  flush_pending(r, head);
  if (head != atomic_load(&r->flushed)) {
    FS_LIST_EACH(link, &r->conns.all) flush_one(r, fs_container_of(link, fs_conn, link), head);
    atomic_store(&r->flushed, head);
    r->tail_stale = true;
  }
  if (r->tail_stale) {
    move_tail(r);
    resume_stalled(r);
  } else if (atomic_load(&r->counters.bytes_sent) != sent_before) {
    resume_stalled(r);
  }
}

/* ---- Ending ---- */

void fs_flush_close(fs_reactor *r, fs_conn *conn, fs_reason reason) {
  pthread_mutex_lock(&r->lock);
  conn->state = FS_CLOSING;
  conn->reason = reason;
  conn->outbox.end = atomic_load(&r->log.head);
  r->open_count--;
  pthread_mutex_unlock(&r->lock);
  conn->linger_deadline_ns = r->now_ns + r->config.linger_ns;
  fs_list_push(&r->lingering, &conn->linger_link);
  fs_reactor_enlist(&r->pending, &conn->pending_link);
}

void fs_flush_kill(fs_reactor *r, fs_conn *conn, fs_reason reason) {
  if (conn->state == FS_DEAD) return;
  if (conn->blocked) {
    /* What it did not take must not stay in the kernel on its behalf. */
    (void)fs_sys_reset_on_close(conn->fd);
    conn->blocked = false;
    r->blocked_count--;
  }
  pthread_mutex_lock(&r->lock);
  settle(r, conn);
  if (conn->state == FS_OPEN) {
    conn->reason = reason;
    r->open_count--;
  }
  conn->state = FS_DEAD;
  fs_outbox_fini(&conn->outbox);
  fs_list_remove(&conn->dirty_link);
  fs_list_remove(&conn->link);
  pthread_mutex_unlock(&r->lock);
  fs_sys_close(conn->fd);
  fs_inbox_retire(&conn->inbox, &r->retired);
  fs_list_remove(&conn->ready_link);
  fs_list_remove(&conn->pending_link);
  fs_list_remove(&conn->linger_link);
  fs_list_push(&r->dead, &conn->link);
  r->tail_stale = true;
}

static void expire_lingering(fs_reactor *r) {
  FS_LIST_EACH(link, &r->lingering) {
    fs_conn *conn = fs_container_of(link, fs_conn, linger_link);
    if (conn->linger_deadline_ns > r->now_ns) {
      r->deadline_ns = fs_min(r->deadline_ns, conn->linger_deadline_ns);
      return;
    }
    fs_flush_kill(r, conn, conn->reason);
  }
}

/* Whether somebody waits for room in the log, or in the outbox of conn (NULL: in any outbox). */
static bool room_wanted(fs_reactor *r, const fs_conn *conn) {
  bool wanted = !conn && !fs_list_empty(&r->stalled);
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->waiters) {
    const fs_waiter *waiter = fs_container_of(link, fs_waiter, link);
    if (waiter->kind == FS_WAIT_ROOM) wanted |= !conn || waiter->b == conn->handle;
  }
  pthread_mutex_unlock(&r->lock);
  return wanted;
}

/* The slow policy "disconnect": who holds others up has slow_grace to accept a byte. */
static void expire_slow(fs_reactor *r) {
  if (r->blocked_count == 0 || !room_wanted(r, NULL)) return;
  uint64_t tail = atomic_load(&r->log.tail);
  FS_LIST_EACH(link, &r->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (!conn->blocked || (conn->outbox.cursor != tail && !room_wanted(r, conn))) continue;
    uint64_t deadline_ns = conn->blocked_ns + r->config.slow_grace_ns;
    if (deadline_ns > r->now_ns)
      r->deadline_ns = fs_min(r->deadline_ns, deadline_ns);
    else
      fs_flush_kill(r, conn, FS_REASON_SLOW);
  }
}

void fs_flush_expire(fs_reactor *r) {
  r->deadline_ns = UINT64_MAX;
  expire_lingering(r);
  expire_slow(r);
  if (r->tail_stale) {
    move_tail(r);
    resume_stalled(r);
  }
}
