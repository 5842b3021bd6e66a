#include "fs_reactor.h"

/* Handles end in a slot number, which is below these. */
#define TAG_LISTEN UINT64_MAX
#define TAG_WAKE (UINT64_MAX - 1)
#define TAG_TIMER (UINT64_MAX - 2)

/* ---- Life ---- */

static int watch_own(fs_reactor *r) {
  int result = fs_poll_add(&r->poll, r->listen_fd, TAG_LISTEN);
  if (result == 0) result = fs_poll_add(&r->poll, r->wake_fd, TAG_WAKE);
  if (result == 0) result = fs_poll_add(&r->poll, r->timer_fd, TAG_TIMER);
  return result;
}

static int open_descriptors(fs_reactor *r, const fs_addr *addr) {
  int result = fs_poll_init(&r->poll);
  if (result < 0) return result;
  if ((result = r->wake_fd = fs_sys_eventfd()) < 0) return result;
  if ((result = r->timer_fd = fs_sys_timerfd()) < 0) return result;
  if ((result = r->listen_fd = fs_sys_listen(addr, r->config.backlog)) < 0) return result;
  if ((result = fs_sys_local_addr(r->listen_fd, &r->address)) < 0) return result;
  return watch_own(r);
}

/* Idempotent. */
static void close_descriptors(fs_reactor *r) {
  int *descriptors[] = {&r->poll.fd, &r->wake_fd, &r->timer_fd, &r->listen_fd};
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
    if (*descriptors[i] >= 0) fs_sys_close(*descriptors[i]);
    *descriptors[i] = -1;
  }
}

static int allocate(fs_reactor *r) {
  r->arena = malloc(FS_ARENA_BYTES);
  r->events = malloc(FS_EVENTS_MAX * sizeof *r->events);
  if (!r->arena || !r->events) return -ENOMEM;
  int result = fs_conns_init(&r->conns, r->config.connections_max);
  if (result < 0) return result;
  result = fs_log_init(&r->log, r->config.log_bytes);
  if (result < 0) fs_conns_fini(&r->conns);
  return result;
}

static void init_fields(fs_reactor *r, const fs_config *config) {
  r->config = *config;
  r->poll.fd = r->wake_fd = r->timer_fd = r->listen_fd = -1;
  r->deadline_ns = UINT64_MAX;
  fs_list *lists[] = {&r->dirty,   &r->waiters,   &r->ready, &r->stalled,
                      &r->pending, &r->lingering, &r->dead,  &r->reported};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) fs_list_init(lists[i]);
  pthread_mutex_init(&r->turn, NULL);
  pthread_mutex_init(&r->lock, NULL);
}

int fs_reactor_new(fs_reactor **result, const fs_config *config, const fs_addr *addr) {
  size_t frame_max = config->message_bytes_max + config->codec->header_len;
  if (config->log_bytes < 4 * frame_max || config->connections_max == 0) return -EINVAL;
  fs_reactor *r = calloc(1, sizeof *r);
  if (!r) return -ENOMEM;
  init_fields(r, config);
  int error = allocate(r);
  if (error < 0) goto fail;
  error = open_descriptors(r, addr);
  if (error == 0) {
    *result = r;
    return 0;
  }
  close_descriptors(r);
  fs_log_fini(&r->log);
  fs_conns_fini(&r->conns);
fail:
  free(r->arena);
  free(r->events);
  free(r);
  return error;
}

static void release_reported(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->reported)
  fs_conns_release(&r->conns, fs_container_of(link, fs_conn, link));
  pthread_mutex_unlock(&r->lock);
}

void fs_reactor_free(fs_reactor *r) {
  FS_LIST_EACH(link, &r->conns.all)
  fs_flush_kill(r, fs_container_of(link, fs_conn, link), FS_REASON_SERVER);
  release_reported(r);
  fs_list_take(&r->reported, &r->dead);
  release_reported(r);
  fs_inbox_free_all(&r->retired);
  close_descriptors(r);
  fs_log_fini(&r->log);
  fs_conns_fini(&r->conns);
  pthread_mutex_destroy(&r->turn);
  pthread_mutex_destroy(&r->lock);
  free(r->arena);
  free(r->events);
  free(r);
}

/* ---- Waiting ---- */

static void note_ready(fs_reactor *r, fs_ready ready) {
  if (ready.tag == TAG_LISTEN) r->accept_ready = true;
  fs_conn *conn = fs_conns_find(&r->conns, ready.tag);
  if (!conn || conn->state == FS_DEAD) return;
  if (ready.what & FS_POLL_OUT && conn->blocked) {
    conn->blocked = false;
    r->blocked_count--;
    fs_reactor_enlist(&r->pending, &conn->pending_link);
  }
  if (ready.what & FS_POLL_HUP) conn->hung_up = true;
  if (ready.what & (FS_POLL_IN | FS_POLL_HUP)) fs_reactor_enlist(&r->ready, &conn->ready_link);
}

int fs_reactor_poll(fs_reactor *r, int64_t timeout_ns) {
  int count = fs_poll_wait(&r->poll, timeout_ns);
  for (int i = 0; i < count; i++) note_ready(r, r->poll.ready[i]);
  return count;
}

static bool can_accept(const fs_reactor *r) {
  return r->accept_ready && r->conns.free_count > 0 && r->now_ns >= r->accept_at_ns;
}

/* Whether a turn would find something to do without waiting. */
static bool has_work(fs_reactor *r) {
  if (!fs_list_empty(&r->ready) || !fs_list_empty(&r->pending) || !fs_list_empty(&r->dead))
    return true;
  if (can_accept(r) || r->now_ns >= r->deadline_ns) return true;
  if (atomic_load(&r->log.head) != atomic_load(&r->flushed)) return true;
  pthread_mutex_lock(&r->lock);
  bool closing = r->closing && r->listen_fd >= 0, dirty = !fs_list_empty(&r->dirty);
  pthread_mutex_unlock(&r->lock);
  return closing || dirty;
}

static int64_t bounded_timeout(const fs_reactor *r, int64_t timeout_ns) {
  uint64_t until = r->deadline_ns;
  if (r->accept_ready && r->accept_at_ns > r->now_ns) until = fs_min(until, r->accept_at_ns);
  if (until == UINT64_MAX) return timeout_ns;
  uint64_t bound = until > r->now_ns ? until - r->now_ns : 0;
  return timeout_ns < 0 || bound < (uint64_t)timeout_ns ? (int64_t)bound : timeout_ns;
}

/* Sleeping: say so, then look once more, then wait. A publisher publishes, then looks whether we
 * sleep. Both are sequentially consistent, so at least one of us sees the other. */
static int sleep_or_poll(fs_reactor *r, int64_t timeout_ns) {
  if (r->poll.fd < 0) return 0; /* closed; nothing can happen any more */
  r->now_ns = fs_sys_now_ns();
  if (timeout_ns != 0) {
    atomic_store(&r->asleep, true);
    if (has_work(r)) timeout_ns = 0;
  }
  int result = fs_reactor_poll(r, timeout_ns == 0 ? 0 : bounded_timeout(r, timeout_ns));
  atomic_store(&r->asleep, false);
  r->now_ns = fs_sys_now_ns();
  return result;
}

/* ---- One turn ---- */

fs_event *fs_reactor_report(fs_reactor *r, fs_event_kind kind, const fs_conn *conn) {
  FS_ASSERT(r->event_count < FS_EVENTS_MAX);
  fs_event *event = &r->events[r->event_count++];
  *event = (fs_event){
      .kind = kind, .reason = conn->reason, .handle = conn->handle, .number = conn->number};
  return event;
}

static void report_dead(fs_reactor *r) {
  FS_LIST_EACH(link, &r->dead) {
    if (r->event_count == FS_EVENTS_MAX) return;
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    fs_reactor_report(r, FS_DISCONNECTED, conn);
    fs_count(&r->counters.ended[conn->reason], 1);
    fs_list_remove(link);
    fs_list_push(&r->reported, link);
  }
}

static void begin_closing(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  bool begin = r->closing && r->listen_fd >= 0;
  pthread_mutex_unlock(&r->lock);
  if (!begin) return;
  fs_sys_close(r->listen_fd);
  r->listen_fd = -1;
  r->accept_ready = false;
  FS_LIST_EACH(link, &r->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state == FS_OPEN) fs_flush_close(r, conn, FS_REASON_SERVER);
  }
}

/* Another event loop sleeps for us: it must be woken by publishers, deadlines and what is left. */
static void prepare_embedded(fs_reactor *r) {
  if (!atomic_load(&r->embedded) || r->poll.fd < 0) return;
  int64_t wait_ns = bounded_timeout(r, -1);
  fs_sys_timer_set(r->timer_fd, wait_ns < 0 ? 0 : r->now_ns + (uint64_t)wait_ns);
  atomic_store(&r->asleep, true);
  if (has_work(r)) fs_sys_notify(r->wake_fd);
}

int fs_reactor_turn(fs_reactor *r, int64_t timeout_ns) {
  pthread_mutex_lock(&r->turn);
  int result = sleep_or_poll(r, timeout_ns);
  if (result < 0) {
    pthread_mutex_unlock(&r->turn);
    return result;
  }
  begin_closing(r);
  fs_receive_accept(r);
  fs_receive_read(r);
  fs_flush_all(r);
  fs_flush_expire(r);
  report_dead(r);
  fs_count(&r->counters.turns, 1);
  int count = (int)r->event_count;
  if (count == 0) fs_reactor_consumed(r);
  return count;
}

void fs_reactor_consumed(fs_reactor *r) {
  r->event_count = 0;
  r->arena_used = 0;
  fs_inbox_free_all(&r->retired);
  release_reported(r);
  if (r->closing && r->listen_fd < 0 && r->conns.count == 0) close_descriptors(r);
  fs_reactor_tell_waiters(r);
  prepare_embedded(r);
  pthread_mutex_unlock(&r->turn);
}
