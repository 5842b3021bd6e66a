/* Waiting for the reactor: for room, for what was published to be gone, for connections, for the
 * end; and the turns that only flush, by which a publisher helps itself. */
#include <poll.h>

#include "fs_reactor.h"

void fs_reactor_prepare(fs_reactor *r, fs_waiter *waiter, fs_wait_kind kind) {
  waiter->kind = kind;
  waiter->eventfd = -1;
  fs_list_init(&waiter->link);
  if (kind != FS_WAIT_DRAIN) return;
  pthread_mutex_lock(&r->lock);
  waiter->channel_count = r->channel_count;
  for (uint32_t i = 0; i < waiter->channel_count; i++)
    waiter->heads[i] = atomic_load(&r->channels[i]->log.head);
  waiter->serial = r->serial;
  pthread_mutex_unlock(&r->lock);
}

bool fs_wait_log_met(fs_reactor *r, const fs_waiter *waiter) {
  return waiter->channel == FS_NO_LOG ||
         fs_log_reserve(&r->channels[waiter->channel]->log, waiter->bytes);
}

/* Also met when there is no outbox any more: who asks again is told. */
static bool outbox_met(fs_reactor *r, const fs_waiter *waiter) {
  fs_conn *conn = waiter->handle ? fs_conns_find(&r->conns, waiter->handle) : NULL;
  if (!conn || !fs_conn_takes(conn)) return true;
  bool direct = waiter->channel == FS_NO_LOG;
  fs_sub *sub = direct ? &conn->main : fs_subscribe_find(r->channels[waiter->channel], conn);
  return !sub || fs_outbox_has_room(&sub->box, waiter->bytes);
}

bool fs_wait_room_met(fs_reactor *r, const fs_waiter *waiter) {
  return r->closing || (fs_wait_log_met(r, waiter) && outbox_met(r, waiter));
}

static bool conn_drained(const fs_waiter *waiter, const fs_conn *conn) {
  for (const fs_sub *sub = &conn->main; sub; sub = sub->next) {
    uint32_t number = sub->channel->number;
    bool detached = fs_list_empty(&sub->channel_link), newer = number >= waiter->channel_count;
    if (detached || newer) continue;
    if (!fs_outbox_reached(&sub->box, waiter->heads[number], waiter->serial)) return false;
  }
  return conn->joining_count == 0;
}

static bool drain_met(fs_reactor *r, const fs_waiter *waiter) {
  FS_LIST_EACH(link, &r->conns.all)
  if (!conn_drained(waiter, fs_container_of(link, fs_conn, link))) return false;
  return true;
}

static bool met(fs_reactor *r, const fs_waiter *waiter) {
  switch (waiter->kind) {
    case FS_WAIT_ROOM:
      return fs_wait_room_met(r, waiter);
    case FS_WAIT_DRAIN:
      return drain_met(r, waiter);
    case FS_WAIT_COUNT:
      return r->open_count >= waiter->count || r->closing;
    case FS_WAIT_CLOSED:
      return r->closing && r->listen_fd < 0 && r->conns.count == 0;
  }
  FS_ASSERT(!"a kind of its own");
}

bool fs_reactor_ended(fs_reactor *r) {
  if (!atomic_load(&r->closing)) return false;
  fs_waiter waiter = {.kind = FS_WAIT_CLOSED};
  return fs_reactor_met(r, &waiter);
}

bool fs_reactor_met(fs_reactor *r, const fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  bool result = met(r, waiter);
  pthread_mutex_unlock(&r->lock);
  return result;
}

void fs_reactor_tell_waiters(fs_reactor *r) {
  /* A change, though of nothing: either we see who enters, or who enters sees what we did before,
   * that we have given the turn back, for one. */
  if (atomic_fetch_add(&r->waiter_count, 0) == 0) return;
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->waiters) {
    fs_waiter *waiter = fs_container_of(link, fs_waiter, link);
    /* Who waits for room can also help itself, once the turn is free. */
    bool tell = waiter->kind == FS_WAIT_ROOM || met(r, waiter);
    if (waiter->eventfd >= 0 && tell) fs_sys_notify(waiter->eventfd);
  }
  pthread_mutex_unlock(&r->lock);
}

static void enter(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_push(&r->waiters, &waiter->link);
  atomic_fetch_add(&r->waiter_count, 1);
  if (waiter->kind == FS_WAIT_ROOM) atomic_store(&r->room_wanted, true);
  pthread_mutex_unlock(&r->lock);
}

static void leave(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_remove(&waiter->link);
  atomic_fetch_sub(&r->waiter_count, 1);
  pthread_mutex_unlock(&r->lock);
}

/* Waits until the reactor tells the waiter something: 0, -ETIMEDOUT or -EINTR. */
static int await_notice(fs_waiter *waiter, int64_t timeout_ns) {
  int result = fs_sys_poll(waiter->eventfd, POLLIN, timeout_ns);
  fs_sys_clear(waiter->eventfd);
  return result > 0 ? 0 : result == 0 ? -ETIMEDOUT : result;
}

int fs_reactor_wait(fs_reactor *r, fs_waiter *waiter, int64_t timeout_ns) {
  int fd = fs_sys_eventfd();
  if (fd < 0) return fd;
  waiter->eventfd = fd;
  enter(r, waiter);
  /* The reactor takes one turn, so that it sees the waiter, and tells it if all is so already. */
  fs_reactor_wake(r);
  int result = fs_reactor_met(r, waiter) ? 0 : await_notice(waiter, timeout_ns);
  leave(r, waiter);
  fs_sys_close(fd);
  waiter->eventfd = -1;
  return result;
}

/* ---- Turns that only flush ---- */

void fs_flush_until_taken(fs_reactor *r) {
  if (r->poll.fd >= 0 && r->blocked_count) (void)fs_reactor_poll(r, 0);
  do fs_flush_all(r);
  while (!fs_list_empty(&r->pending));
}

int fs_reactor_flush(fs_reactor *r) {
  atomic_store(&r->flush_wanted, true);
  if (pthread_mutex_trylock(&r->turn) != 0) {
    /* Who is in a turn flushes before it ends, and is woken if it sleeps. */
    fs_reactor_wake(r);
    return 0;
  }
  r->now_ns = fs_sys_now_ns();
  fs_reactor_end_turn(r);
  return 0;
}

/* Sleeps like the reactor: publishers, closers and drivers wake us up. */
static int poll_asleep(fs_reactor *r, const fs_waiter *waiter, uint64_t until_ns) {
  uint64_t next_ns = fs_min(fs_reactor_due_ns(r), until_ns);
  int64_t wait_ns = next_ns > r->now_ns ? (int64_t)(next_ns - r->now_ns) : 0;
  if (next_ns == UINT64_MAX) wait_ns = -1;
  atomic_store(&r->asleep, true);
  if (atomic_load(&r->turn_wanted) || fs_reactor_met(r, waiter)) wait_ns = 0;
  int result = fs_reactor_poll(r, wait_ns);
  atomic_store(&r->asleep, false);
  return result;
}

/* The publisher is the reactor for a while: it flushes and applies the slow policy, and leaves
 * what arrives for the next whole turn. FS_EBUSY: a driver wants the turn. */
static int flush_until_room(fs_reactor *r, const fs_waiter *waiter, uint64_t until_ns) {
  for (;;) {
    r->now_ns = fs_sys_now_ns();
    fs_flush_until_taken(r);
    fs_expire(r);
    if (fs_reactor_met(r, waiter)) return 0;
    if (r->now_ns >= until_ns) return -ETIMEDOUT;
    if (atomic_load(&r->turn_wanted)) return FS_EBUSY;
    int result = poll_asleep(r, waiter, until_ns);
    if (result < 0) return result;
  }
}

/* Waits for a notice while another thread drives; 0: look again. */
static int room_by_driver(fs_reactor *r, fs_waiter *waiter, uint64_t until_ns) {
  uint64_t now_ns = fs_sys_now_ns();
  if (fs_reactor_met(r, waiter)) return 1;
  if (now_ns >= until_ns) return -ETIMEDOUT;
  int64_t left_ns = until_ns == UINT64_MAX ? -1 : (int64_t)(until_ns - now_ns);
  int result = await_notice(waiter, left_ns);
  return result == -ETIMEDOUT && !fs_reactor_met(r, waiter) ? result : fs_min(result, 0);
}

static int wait_for_room(fs_reactor *r, fs_waiter *waiter, uint64_t until_ns) {
  int result = 0;
  while (result == 0) {
    if (atomic_load(&r->turn_wanted) == 0 && pthread_mutex_trylock(&r->turn) == 0) {
      result = flush_until_room(r, waiter, until_ns);
      fs_reactor_end_turn(r);
      if (result != FS_EBUSY) return result;
    }
    /* Told whenever a turn ends: then there is room, or the turn is ours to take. */
    result = room_by_driver(r, waiter, until_ns);
  }
  return fs_min(result, 0);
}

int fs_reactor_make_room(fs_reactor *r, uint32_t channel, size_t len, uint64_t handle,
                         int64_t timeout_ns) {
  fs_waiter waiter;
  fs_reactor_prepare(r, &waiter, FS_WAIT_ROOM);
  waiter.bytes = len + r->config.codec->header_len;
  waiter.channel = channel;
  waiter.handle = handle;
  waiter.eventfd = fs_sys_eventfd();
  if (waiter.eventfd < 0) return waiter.eventfd;
  enter(r, &waiter);
  fs_reactor_wake(r);
  uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : fs_sys_now_ns() + (uint64_t)timeout_ns;
  int result = wait_for_room(r, &waiter, until_ns);
  leave(r, &waiter);
  fs_sys_close(waiter.eventfd);
  return result;
}
