#include "engine/fs_accept.h"

#include "engine/fs_close.h"
#include "engine/fs_idle.h"

static void welcome(fs_reactor *r, int fd, const fs_addr *peer) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_open(&r->conns, fd, peer);
  if (conn) {
    fs_sub_init(&conn->main, conn, r->channels[0], r->config.outbox_bytes_max);
    fs_list_push(&r->channels[0]->subs, &conn->main.channel_link);
    conn->current = &conn->main;
    conn->opened_ns = r->now_ns;
    atomic_store(&conn->received_bytes_max, r->config.first_bytes_max);
    atomic_store(&conn->last_sent_ns, r->now_ns);
    atomic_store(&conn->last_received_ns, r->now_ns);
    r->open_count++;
  }
  pthread_mutex_unlock(&r->lock);
  if (!conn) {
    fs_sys_close(fd);
    fs_count(&r->counters.accept_errors, 1);
    return;
  }
  fs_count(&r->counters.accepted, 1);
  fs_idle_watch(r, conn);
  fs_state_enlist(&r->untold, &conn->untold_link);
  if (fs_poll_add(&r->poll, fd, conn->handle) < 0) fs_close_kill(r, conn, FS_REASON_MEMORY);
}

void fs_accept(fs_reactor *r) {
  for (int visits = 0; visits < FS_ACCEPT_MAX && fs_state_can_accept(r); visits++) {
    fs_addr peer;
    int fd = fs_listeners_accept(&r->listeners, &peer);
    if (fd >= 0) {
      welcome(r, fd, &peer);
    } else if (fd == FS_EREFUSED) {
      fs_count(&r->counters.refused, 1);
    } else if (fd != -EAGAIN && fd != -ECONNABORTED) {
      /* The caller waits in the backlog. */
      fs_count(&r->counters.accept_errors, 1);
      r->accept_at_ns = r->now_ns + FS_ACCEPT_PAUSE_NS;
    } /* Else there is no caller, or it ended in the backlog: the next one (accept(2)). */
  }
}
