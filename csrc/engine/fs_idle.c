#include "engine/fs_idle.h"

#include "engine/fs_close.h"
#include "engine/fs_publish.h"

static uint64_t due_ns(fs_counter *since, uint64_t period_ns) {
  return period_ns ? atomic_load_explicit(since, memory_order_relaxed) + period_ns : UINT64_MAX;
}

void fs_idle_watch(fs_reactor *r, fs_conn *conn) {
  uint64_t deadline_ns = fs_min(due_ns(&conn->last_received_ns, r->config.idle_timeout_ns),
                                due_ns(&conn->last_sent_ns, r->config.heartbeat_ns));
  if (deadline_ns != UINT64_MAX) fs_wheel_set(&r->wheel, &conn->timer, deadline_ns);
}

static void send_heartbeat(fs_reactor *r, fs_conn *conn) {
  pthread_mutex_lock(&r->lock);
  /* If there is no room, there is enough to send already. */
  (void)fs_publish_heartbeat(r, conn);
  pthread_mutex_unlock(&r->lock);
  /* Even if the kernel does not take it now: the next one is due a period later. */
  atomic_store_explicit(&conn->last_sent_ns, r->now_ns, memory_order_relaxed);
  fs_state_enlist(&r->pending, &conn->pending_link);
}

static void check_idle(fs_reactor *r, fs_conn *conn) {
  if (r->now_ns >= due_ns(&conn->last_received_ns, r->config.idle_timeout_ns)) {
    fs_close_begin(r, conn, FS_REASON_IDLE);
    return;
  }
  if (r->now_ns >= due_ns(&conn->last_sent_ns, r->config.heartbeat_ns)) send_heartbeat(r, conn);
  fs_idle_watch(r, conn);
}

void fs_idle_expire(fs_reactor *r) {
  fs_timer *timer;
  while ((timer = fs_wheel_pop(&r->wheel, r->now_ns))) {
    fs_conn *conn = fs_container_of(timer, fs_conn, timer);
    if (conn->state == FS_OPEN)
      check_idle(r, conn);
    else
      fs_close_kill(r, conn, conn->reason);
  }
}
