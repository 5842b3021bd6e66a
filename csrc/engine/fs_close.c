#include "engine/fs_close.h"

#include "engine/fs_reactor.h"
#include "engine/fs_subscribe.h"

/* Takes the connection out of all channels, and notes how much went out while the logs know it.
 * Under turn and lock. */
static void detach(fs_reactor *r, fs_conn *conn) {
  uint64_t before = conn->settled_count;
  for (fs_sub *sub = &conn->main; sub; sub = sub->next) {
    if (fs_list_empty(&sub->channel_link)) continue;
    conn->settled_count += fs_outbox_sent_count(&sub->box);
    fs_outbox_fini(&sub->box);
    fs_list_remove(&sub->channel_link);
    sub->channel->tail_stale = true;
  }
  fs_count(&r->counters.deliveries, conn->settled_count - before);
}

/* Under lock. A close that was asked for first decides. */
static void set_reason(fs_conn *conn, fs_reason reason) {
  conn->reason = conn->close_wanted ? conn->close_reason : reason;
}

static void set_linger(fs_reactor *r, fs_conn *conn) {
  fs_wheel_set(&r->wheel, &conn->timer, r->now_ns + atomic_load(&r->linger_ns));
}

void fs_close_begin(fs_reactor *r, fs_conn *conn, fs_reason reason) {
  pthread_mutex_lock(&r->lock);
  fs_subscribe_join(r, conn);
  conn->state = FS_CLOSING;
  set_reason(conn, reason);
  fs_subscribe_end_all(r, conn);
  r->open_count--;
  pthread_mutex_unlock(&r->lock);
  set_linger(r, conn);
  fs_state_enlist(&r->pending, &conn->pending_link);
}

void fs_close_flushed(fs_reactor *r, fs_conn *conn) {
  if (conn->peer_eof || atomic_load(&r->linger_ns) == 0 || fs_sys_shutdown_write(conn->fd) < 0) {
    fs_close_kill(r, conn, conn->reason);
    return;
  }
  pthread_mutex_lock(&r->lock);
  detach(r, conn);
  conn->state = FS_SHUT;
  pthread_mutex_unlock(&r->lock);
  fs_state_enlist(&r->ready, &conn->ready_link);
}

void fs_close_broken(fs_reactor *r, fs_conn *conn, int error) {
  if (conn->peer_eof || conn->state != FS_OPEN) {
    fs_close_kill(r, conn, fs_close_reason_of(error));
    return;
  }
  pthread_mutex_lock(&r->lock);
  fs_subscribe_join(r, conn);
  detach(r, conn);
  set_reason(conn, fs_close_reason_of(error));
  conn->state = FS_BROKEN;
  r->open_count--;
  pthread_mutex_unlock(&r->lock);
  conn->hung_up = true;
  set_linger(r, conn);
  fs_state_enlist(&r->ready, &conn->ready_link);
}

/* Counts what it had sent that was not read. */
static void count_unheard(fs_reactor *r, const fs_conn *conn) {
  if (conn->peer_eof) return;
  size_t kept = conn->inbox ? conn->inbox->len : 0;
  fs_count(&r->counters.unheard, kept + fs_sys_unread(conn->fd));
}

void fs_close_kill(fs_reactor *r, fs_conn *conn, fs_reason reason) {
  if (conn->state == FS_DEAD) return;
  count_unheard(r, conn);
  if (conn->blocked) {
    /* What it did not take must not stay in the kernel. */
    (void)fs_sys_reset_on_close(conn->fd);
    conn->blocked = false;
    r->blocked_count--;
  }
  pthread_mutex_lock(&r->lock);
  fs_subscribe_join(r, conn);
  detach(r, conn);
  if (conn->state == FS_OPEN) {
    set_reason(conn, reason);
    r->open_count--;
  } else if (conn->state == FS_BROKEN && conn->reason == FS_REASON_PEER) {
    /* What the peer had sent before it closed says more. */
    set_reason(conn, reason);
  }
  conn->state = FS_DEAD;
  fs_count(&r->counters.ended[conn->reason], 1);
  fs_list_remove(&conn->dirty_link);
  fs_list_remove(&conn->link);
  pthread_mutex_unlock(&r->lock);
  fs_sys_close(conn->fd);
  fs_inbox_retire(&conn->inbox, &r->retired);
  fs_list_remove(&conn->ready_link);
  fs_list_remove(&conn->pending_link);
  fs_list_remove(&conn->hold_link);
  fs_wheel_remove(&r->wheel, &conn->timer);
  fs_list_push(&r->dead, &conn->link);
}

void fs_close_release(fs_reactor *r) {
  if (fs_list_empty(&r->reported)) return;
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->reported)
  fs_conns_release(&r->conns, fs_container_of(link, fs_conn, link));
  pthread_mutex_unlock(&r->lock);
}

/* ---- Any thread ---- */

int fs_reactor_close_conn(fs_reactor *r, uint64_t handle, fs_reason reason) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  bool open = conn && fs_conn_takes(conn);
  if (open) {
    conn->close_wanted = true;
    conn->close_reason = reason;
    fs_subscribe_end_all(r, conn);
    fs_state_ask(r, conn);
  }
  pthread_mutex_unlock(&r->lock);
  if (open) fs_state_wake(r);
  return open ? 0 : FS_EGONE;
}

void fs_reactor_close(fs_reactor *r, bool hearing) {
  pthread_mutex_lock(&r->lock);
  /* Before closing is stored, so that a thread that sees closing sees this. The first close
   * decides. */
  if (!atomic_load(&r->closing)) atomic_store(&r->hearing, hearing);
  atomic_store(&r->closing, true);
  pthread_mutex_unlock(&r->lock);
  fs_state_wake(r);
}

void fs_reactor_set_linger(fs_reactor *r, uint64_t linger_ns) {
  atomic_store(&r->linger_ns, linger_ns);
}
