#include "engine/fs_reactor.h"

/* Handles end in a slot number, which is below these. */
#define TAG_WAKE UINT64_MAX
#define TAG_TIMER (UINT64_MAX - 1)
#define TAG_LISTEN (UINT64_MAX - 2) /* of the first listener; those of the others are below it */
#define TAG_OWN (TAG_LISTEN - FS_LISTENERS_MAX + 1)

/* ---- Life ---- */

static int watch_own(fs_reactor *r, const int *listen_fds, uint32_t listen_count) {
  int result = fs_poll_add(&r->poll, r->wake_fd, TAG_WAKE);
  if (result == 0) result = fs_poll_add(&r->poll, r->timer_fd, TAG_TIMER);
  for (uint32_t i = 0; i < listen_count && result == 0; i++)
    result = fs_poll_add(&r->poll, listen_fds[i], TAG_LISTEN - i);
  return result;
}

static int open_descriptors(fs_reactor *r, const int *listen_fds, uint32_t listen_count) {
  int result = fs_poll_init(&r->poll);
  if (result < 0) return result;
  if ((result = r->wake_fd = fs_sys_eventfd()) < 0) return result;
  if ((result = r->timer_fd = fs_sys_timerfd()) < 0) return result;
  if ((result = watch_own(r, listen_fds, listen_count)) < 0) return result;
  /* Last, since they are ours from here on. */
  if ((result = fs_listeners_open(&r->listeners, listen_fds, listen_count)) < 0) return result;
  r->listening = true;
  return 0;
}

/* Idempotent. */
static void close_descriptors(fs_reactor *r) {
  fs_poll_fini(&r->poll);
  fs_listeners_close(&r->listeners);
  int *descriptors[] = {&r->wake_fd, &r->timer_fd};
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
  return fs_reactor_add_channel(r, r->config.log_bytes, r->config.policy, r->config.slow_grace_ns);
}

static void init_fields(fs_reactor *r, const fs_config *config) {
  r->config = *config;
  atomic_init(&r->linger_ns, config->linger_ns);
  fs_poll_clear(&r->poll);
  r->wake_fd = r->timer_fd = -1;
  fs_listeners_init(&r->listeners);
  r->deadline_ns = UINT64_MAX;
  r->turn_share = config->turn_messages_max ? config->turn_messages_max : FS_EVENTS_MAX;
  fs_list *lists[] = {&r->served,  &r->dirty,  &r->waiters, &r->ready,    &r->stalled,
                      &r->pending, &r->untold, &r->dead,    &r->reported, &r->holding};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) fs_list_init(lists[i]);
  fs_wheel_init(&r->wheel, fs_sys_now_ns());
  pthread_mutex_init(&r->turn, NULL);
  pthread_mutex_init(&r->lock, NULL);
}

/* Whatever of it there is. */
static void release(fs_reactor *r) {
  close_descriptors(r);
  for (uint32_t i = 0; i < r->channel_count; i++) fs_channel_free(r->channels[i]);
  fs_conns_fini(&r->conns);
  pthread_mutex_destroy(&r->turn);
  pthread_mutex_destroy(&r->lock);
  free(r->arena);
  free(r->events);
  free(r);
}

int fs_reactor_new(fs_reactor **result, const fs_config *config, const int *listen_fds,
                   uint32_t listen_count) {
  size_t frame_max = config->message_bytes_max + config->codec->header_len;
  if (config->log_bytes < 4 * frame_max || config->connections_max == 0) return -EINVAL;
  if (config->flush_bytes == 0 || listen_count > FS_LISTENERS_MAX) return -EINVAL;
  /* What never fits must not be waited for. */
  if (config->outbox_bytes_max < sizeof(fs_edit) + frame_max) return -EINVAL;
  if (config->outbox_bytes_max > FS_OUTBOX_BYTES_MAX) return -EINVAL;
  fs_reactor *r = calloc(1, sizeof *r);
  if (!r) return -ENOMEM;
  init_fields(r, config);
  int error = allocate(r);
  if (error >= 0) error = open_descriptors(r, listen_fds, listen_count);
  if (error < 0)
    release(r);
  else
    *result = r;
  return error;
}

static void release_reported(fs_reactor *r) {
  if (fs_list_empty(&r->reported)) return;
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->reported)
  fs_conns_release(&r->conns, fs_container_of(link, fs_conn, link));
  pthread_mutex_unlock(&r->lock);
}

void fs_reactor_free(fs_reactor *r) {
  FS_LIST_EACH(link, &r->conns.all)
  fs_close_kill(r, fs_container_of(link, fs_conn, link), FS_REASON_SERVER);
  release_reported(r);
  fs_list_take(&r->reported, &r->dead);
  release_reported(r);
  fs_inbox_free_all(&r->retired);
  release(r);
}

void fs_reactor_abandon(fs_reactor *r) {
  close_descriptors(r);
  FS_LIST_EACH(link, &r->conns.all) fs_sys_close(fs_container_of(link, fs_conn, link)->fd);
}

/* ---- Waiting ---- */

static void note_ready(fs_reactor *r, fs_ready ready) {
  if (ready.tag >= TAG_OWN) {
    if (ready.tag <= TAG_LISTEN)
      fs_listeners_note(&r->listeners, (uint32_t)(TAG_LISTEN - ready.tag));
    return;
  }
  fs_conn *conn = fs_conns_find(&r->conns, ready.tag);
  if (!conn || conn->state == FS_DEAD) return;
  if (ready.what & FS_POLL_OUT && conn->blocked) {
    conn->blocked = false;
    r->blocked_count--;
    fs_reactor_enlist(&r->pending, &conn->pending_link);
  }
  if (ready.what & FS_POLL_HUP) conn->hung_up = true;
  if (ready.what & FS_POLL_URGENT) conn->urgent = true;
  if (ready.what & (FS_POLL_IN | FS_POLL_HUP)) fs_reactor_enlist(&r->ready, &conn->ready_link);
}

int fs_reactor_poll(fs_reactor *r, int64_t timeout_ns) {
  int count = fs_poll_wait(&r->poll, timeout_ns);
  for (int i = 0; i < count; i++) note_ready(r, r->poll.ready[i]);
  return count;
}

bool fs_reactor_can_accept(const fs_reactor *r) {
  return r->listeners.ready_count && r->conns.free_count && r->now_ns >= r->accept_at_ns;
}

bool fs_reactor_asked(const fs_reactor *r) {
  for (uint32_t i = 0; i < r->channel_count; i++)
    if (atomic_load(&r->channels[i]->log.head) != atomic_load(&r->channels[i]->flushed))
      return true;
  return atomic_load(&r->asked) || atomic_load(&r->room_wanted) || atomic_load(&r->flush_wanted) ||
         atomic_load(&r->turn_wanted);
}

static bool has_news(const fs_reactor *r) {
  const fs_list *news[] = {&r->ready, &r->untold, &r->dead};
  for (size_t i = 0; i < sizeof news / sizeof *news; i++)
    if (!fs_list_empty(news[i])) return true;
  return fs_reactor_can_accept(r);
}

/* Whether a turn would find something to do without waiting. */
static bool has_work(const fs_reactor *r) {
  if (!fs_list_empty(&r->pending) || has_news(r)) return true;
  if (r->now_ns >= fs_reactor_due_ns(r)) return true;
  return fs_reactor_asked(r) || fs_reactor_must_close(r);
}

uint64_t fs_reactor_due_ns(const fs_reactor *r) {
  return fs_min(r->deadline_ns, fs_wheel_next_ns(&r->wheel));
}

static int64_t bounded_timeout(const fs_reactor *r, int64_t timeout_ns) {
  uint64_t until = fs_reactor_due_ns(r);
  if (r->listeners.ready_count && r->accept_at_ns > r->now_ns)
    until = fs_min(until, r->accept_at_ns);
  if (until == UINT64_MAX) return timeout_ns;
  uint64_t bound = until > r->now_ns ? until - r->now_ns : 0;
  return timeout_ns < 0 || bound < (uint64_t)timeout_ns ? (int64_t)bound : timeout_ns;
}

/* Looks at the descriptors for busy_poll_us before it is worth sleeping. */
static int spin(fs_reactor *r, int64_t timeout_ns) {
  uint64_t spin_ns = r->config.busy_poll_ns, until_ns = r->now_ns + spin_ns;
  if (timeout_ns >= 0) until_ns = fs_min(until_ns, r->now_ns + (uint64_t)timeout_ns);
  int count = 0;
  fs_wait_tell(r, false);
  while (count == 0 && r->now_ns < until_ns && !has_work(r)) {
    count = fs_reactor_poll(r, 0);
    r->now_ns = fs_sys_now_ns();
  }
  return count;
}

/* Sleeping: say so, then look once more, then wait; see fs_borrow.h. */
static int sleep_or_poll(fs_reactor *r, int64_t timeout_ns) {
  if (r->poll.fd < 0) return 0; /* closed; nothing can happen any more */
  r->now_ns = fs_sys_now_ns();
  int result = timeout_ns != 0 && r->config.busy_poll_ns ? spin(r, timeout_ns) : 0;
  if (result != 0) return result;
  if (timeout_ns != 0) {
    atomic_store(&r->asleep, true);
    if (has_work(r))
      timeout_ns = 0;
    else
      fs_wait_tell(r, false); /* of what is so already */
  }
  result = fs_reactor_poll(r, timeout_ns == 0 ? 0 : bounded_timeout(r, timeout_ns));
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

/* That it has come is told before all else, what was lost before the end of the connection that
 * lost it. */
static void report_untold(fs_reactor *r) {
  FS_LIST_EACH(link, &r->untold) {
    fs_conn *conn = fs_container_of(link, fs_conn, untold_link);
    if (r->event_count == FS_EVENTS_MAX) return;
    if (!conn->announced) fs_reactor_report(r, FS_CONNECTED, conn);
    conn->announced = true;
    for (fs_sub *sub = &conn->main; sub; sub = sub->next) {
      if (sub->gap_count == 0) continue;
      if (r->event_count == FS_EVENTS_MAX) return;
      fs_event *event = fs_reactor_report(r, FS_GAP, conn);
      event->channel = sub->channel->number;
      event->lost = sub->gap_count;
      sub->gap_count = 0;
    }
    fs_list_remove(link);
    /* A subscription that has ended waited for this. */
    if (conn->main.next && conn->state != FS_DEAD)
      fs_reactor_enlist(&r->pending, &conn->pending_link);
  }
}

static void report_dead(fs_reactor *r) {
  FS_LIST_EACH(link, &r->dead) {
    if (r->event_count == FS_EVENTS_MAX) return;
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (!fs_list_empty(&conn->untold_link)) continue;
    fs_reactor_report(r, FS_DISCONNECTED, conn);
    fs_list_remove(link);
    fs_list_push(&r->reported, link);
  }
}

void fs_reactor_begin_closing(fs_reactor *r) {
  if (!fs_reactor_must_close(r)) return;
  bool hearing = atomic_load(&r->hearing);
  if (hearing) fs_receive_accept(r);
  /* Another process may hold them, too; epoll must not go on reporting them. */
  for (uint32_t i = 0; i < r->listeners.count; i++)
    fs_poll_remove(&r->poll, r->listeners.all[i].fd);
  fs_listeners_close(&r->listeners);
  pthread_mutex_lock(&r->lock);
  r->listening = false;
  pthread_mutex_unlock(&r->lock);
  FS_LIST_EACH(link, &r->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state != FS_OPEN) continue;
    conn->heard = hearing && !conn->close_wanted;
    fs_close_begin(r, conn, FS_REASON_SERVER);
  }
  /* What waited for room in the log to be relayed finds that there is no relaying any more. */
  fs_list_append(&r->ready, &r->stalled);
}

bool fs_reactor_is_drivers(const fs_reactor *r) {
  if (atomic_load(&r->turn_wanted)) return true;
  return atomic_load(&r->embedded) && has_news(r);
}

/* Another event loop sleeps for us: it must be woken by publishers, deadlines and what is left. */
static void prepare_embedded(fs_reactor *r) {
  if (!atomic_load(&r->embedded) || r->poll.fd < 0) return;
  int64_t wait_ns = bounded_timeout(r, -1);
  fs_sys_timer_set(r->timer_fd, wait_ns < 0 ? 0 : r->now_ns + (uint64_t)wait_ns);
  atomic_store(&r->asleep, true);
  if (has_work(r)) fs_sys_notify(r->wake_fd);
}

int fs_reactor_add_channel(fs_reactor *r, size_t log_bytes, fs_policy policy,
                           uint64_t slow_grace_ns) {
  fs_channel *channel;
  int result = fs_channel_new(&channel, log_bytes, policy, slow_grace_ns);
  if (result < 0) return result;
  pthread_mutex_lock(&r->lock);
  uint32_t number = r->channel_count;
  if (number < FS_CHANNELS_MAX) {
    channel->number = number;
    r->channels[number] = channel;
    atomic_store(&r->channel_count, number + 1);
  }
  pthread_mutex_unlock(&r->lock);
  if (number < FS_CHANNELS_MAX) return (int)number;
  fs_channel_free(channel);
  return FS_EFULL;
}

/* The driver's turn goes before those that are borrowed. */
static void begin_turn(fs_reactor *r) {
  if (pthread_mutex_trylock(&r->turn) == 0) return;
  atomic_fetch_add(&r->turn_wanted, 1);
  fs_reactor_wake(r);
  pthread_mutex_lock(&r->turn);
  atomic_fetch_sub(&r->turn_wanted, 1);
}

/* A turn without the taking and the giving back of it. */
static int turn(fs_reactor *r, int64_t timeout_ns) {
  /* What the handlers of the last turn have sent and closed comes first: an answer waits for no
   * look at the descriptors, and then nothing keeps us from sleeping. */
  r->now_ns = fs_sys_now_ns();
  if (r->cut_short) fs_receive_share(r);
  fs_flush_all(r);
  report_untold(r);
  report_dead(r);
  if (r->event_count > 0) timeout_ns = 0;
  int result = sleep_or_poll(r, timeout_ns);
  if (result < 0 && r->event_count == 0) return result;
  fs_reactor_begin_closing(r);
  fs_receive_accept(r);
  report_untold(r);
  fs_receive_read(r);
  fs_flush_all(r);
  fs_expire(r);
  report_untold(r);
  report_dead(r);
  fs_count(&r->counters.turns, 1);
  int count = (int)r->event_count;
  bool lone = count == 1 && r->events[0].kind == FS_MESSAGE;
  atomic_store_explicit(&r->lone, lone, memory_order_relaxed);
  return count;
}

static void close_if_done(fs_reactor *r) {
  if (!atomic_load(&r->closing)) return;
  pthread_mutex_lock(&r->lock);
  if (!r->listening && fs_list_empty(&r->conns.all)) close_descriptors(r);
  pthread_mutex_unlock(&r->lock);
}

void fs_reactor_tidy(fs_reactor *r) {
  r->event_count = 0;
  r->arena_used = 0;
  fs_inbox_free_all(&r->retired);
  release_reported(r);
  close_if_done(r);
}

bool fs_reactor_consumed(fs_reactor *r) {
  fs_reactor_tidy(r);
  return fs_reactor_end_turn(r);
}

/* Gives the turn back, unless there are events. */
static int end_without_events(fs_reactor *r, int result) {
  if (result <= 0 && fs_reactor_consumed(r)) fs_reactor_catch_up(r);
  return result;
}

int fs_reactor_turn(fs_reactor *r, int64_t timeout_ns) {
  begin_turn(r);
  return end_without_events(r, turn(r, timeout_ns));
}

/* Between two turns in a row: there were no events, and nobody needs to take the turn. */
static void go_on(fs_reactor *r) {
  fs_reactor_tidy(r);
  fs_wait_tell(r, false);
}

/* Whether callers were refused since this was asked last. */
static bool has_refused(fs_reactor *r) {
  uint64_t refused = atomic_load_explicit(&r->counters.refused, memory_order_relaxed);
  bool more = refused != r->refused_count;
  r->refused_count = refused;
  return more;
}

int fs_reactor_drive(fs_reactor *r, int64_t timeout_ns) {
  uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : fs_sys_now_ns() + (uint64_t)timeout_ns;
  begin_turn(r);
  int result = turn(r, timeout_ns);
  uint64_t pause_ns = r->now_ns + FS_DRIVE_NS;
  while (result == 0 && r->now_ns < fs_min(until_ns, pause_ns)) {
    go_on(r);
    if (fs_reactor_ended(r) || atomic_load(&r->turn_wanted) || has_refused(r)) break;
    result = turn(r, timeout_ns < 0 ? -1 : (int64_t)(until_ns - r->now_ns));
  }
  return end_without_events(r, result);
}

bool fs_reactor_end_turn(fs_reactor *r) {
  prepare_embedded(r);
  bool offered = !fs_reactor_is_drivers(r);
  pthread_mutex_unlock(&r->turn);
  /* After the unlocking, since one of them may take the turn. */
  fs_wait_tell(r, offered);
  return atomic_load(&r->flush_wanted);
}

int fs_reactor_embed(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  atomic_store(&r->embedded, true);
  atomic_store(&r->asleep, true);
  /* What was published before has woken nobody. */
  if (r->wake_fd >= 0) fs_sys_notify(r->wake_fd);
  int fd = r->poll.fd;
  pthread_mutex_unlock(&r->lock);
  return fd;
}
