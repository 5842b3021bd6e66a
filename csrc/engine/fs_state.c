#include "engine/fs_state.h"

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

int fs_state_open(fs_reactor *r, const int *listen_fds, uint32_t listen_count) {
  int result = fs_poll_init(&r->poll);
  if (result < 0) return result;
  if ((result = r->wake_fd = fs_sys_eventfd()) < 0) return result;
  if ((result = r->timer_fd = fs_sys_timerfd()) < 0) return result;
  if ((result = watch_own(r, listen_fds, listen_count)) < 0) return result;
  /* Last: the listening descriptors are ours from here on. */
  if ((result = fs_listeners_open(&r->listeners, listen_fds, listen_count)) < 0) return result;
  r->listening = true;
  return 0;
}

void fs_state_close(fs_reactor *r) {
  fs_poll_fini(&r->poll);
  fs_listeners_close(&r->listeners);
  int *descriptors[] = {&r->wake_fd, &r->timer_fd};
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
    if (*descriptors[i] >= 0) fs_sys_close(*descriptors[i]);
    *descriptors[i] = -1;
  }
}

void fs_state_init(fs_reactor *r, const fs_config *config) {
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

void fs_state_free(fs_reactor *r) {
  fs_state_close(r);
  for (uint32_t i = 0; i < r->channel_count; i++) fs_channel_free(r->channels[i]);
  fs_conns_fini(&r->conns);
  pthread_mutex_destroy(&r->turn);
  pthread_mutex_destroy(&r->lock);
  free(r->arena);
  free(r->events);
  free(r);
}

/* ---- Asking ---- */

/* Under the lock, under which the reactor closes its descriptors. */
void fs_state_rouse(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  if (r->wake_fd >= 0 && atomic_exchange(&r->asleep, false)) {
    fs_sys_notify(r->wake_fd);
    fs_count(&r->counters.wakeups, 1);
  }
  pthread_mutex_unlock(&r->lock);
}

/* ---- Looking ---- */

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
    fs_state_enlist(&r->pending, &conn->pending_link);
  }
  if (ready.what & FS_POLL_HUP) conn->hung_up = true;
  if (ready.what & FS_POLL_URGENT) conn->urgent = true;
  if (ready.what & (FS_POLL_IN | FS_POLL_HUP)) fs_state_enlist(&r->ready, &conn->ready_link);
}

int fs_state_poll(fs_reactor *r, int64_t timeout_ns) {
  int count = fs_poll_wait(&r->poll, timeout_ns);
  for (int i = 0; i < count; i++) note_ready(r, r->poll.ready[i]);
  return count;
}

bool fs_state_asked(const fs_reactor *r) {
  for (uint32_t i = 0; i < r->channel_count; i++)
    if (atomic_load(&r->channels[i]->log.head) != atomic_load(&r->channels[i]->flushed))
      return true;
  return atomic_load(&r->asked) || atomic_load(&r->room_wanted) || atomic_load(&r->flush_wanted) ||
         atomic_load(&r->turn_wanted);
}

bool fs_state_has_news(const fs_reactor *r) {
  const fs_list *news[] = {&r->ready, &r->untold, &r->dead};
  for (size_t i = 0; i < sizeof news / sizeof *news; i++)
    if (!fs_list_empty(news[i])) return true;
  return fs_state_can_accept(r);
}

fs_event *fs_state_report(fs_reactor *r, fs_event_kind kind, const fs_conn *conn) {
  FS_ASSERT(r->event_count < FS_EVENTS_MAX);
  fs_event *event = &r->events[r->event_count++];
  *event = (fs_event){
      .kind = kind, .reason = conn->reason, .handle = conn->handle, .number = conn->number};
  return event;
}
