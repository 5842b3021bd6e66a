/* Publishing: what any thread may do while the reactor runs, or while nobody runs it. */
#include <poll.h>

#include "fs_reactor.h"

/* ---- Append and queue ---- */

int fs_publish_append(fs_reactor *r, fs_slice message, size_t framed, fs_conn *exclude,
                      uint64_t *seq) {
  if (r->closing) return FS_ECLOSED;
  uint8_t *place = fs_log_reserve(&r->log, framed);
  if (!place) return FS_EFULL;
  if (exclude && exclude->state == FS_OPEN) {
    int result = fs_outbox_skip(&exclude->outbox, framed, ++r->serial);
    if (result < 0) return result;
  }
  r->config.codec->encode(place, message.data, message.len);
  *seq = fs_log_commit(&r->log, framed);
  return 0;
}

static ssize_t measure(const fs_reactor *r, const uint8_t *data, size_t len) {
  ssize_t framed = r->config.codec->measure(data, len);
  size_t most = r->config.message_bytes_max + r->config.codec->header_len;
  return framed > (ssize_t)most ? FS_ETOOBIG : framed;
}

int fs_reactor_publish(fs_reactor *r, const uint8_t *data, size_t len, uint64_t exclude,
                       uint64_t *seq) {
  ssize_t framed = measure(r, data, len);
  if (framed < 0) return (int)framed;
  pthread_mutex_lock(&r->lock);
  fs_conn *excluded = exclude ? fs_conns_find(&r->conns, exclude) : NULL;
  int result = fs_publish_append(r, (fs_slice){data, len}, (size_t)framed, excluded, seq);
  pthread_mutex_unlock(&r->lock);
  if (result < 0) return result;
  fs_reactor_wake(r);
  return atomic_load(&r->log.head) - atomic_load(&r->flushed) >= FS_FLUSH_DUE_BYTES;
}

int fs_reactor_publish_many(fs_reactor *r, const fs_slice *messages, size_t count, uint64_t *seq) {
  size_t done = 0;
  int result = 0;
  for (size_t i = 0; i < count; i++) {
    ssize_t framed = measure(r, messages[i].data, messages[i].len);
    *seq = i;
    if (framed < 0) return (int)framed;
  }
  pthread_mutex_lock(&r->lock);
  for (; done < count && result == 0; done += result == 0) {
    size_t framed = (size_t)measure(r, messages[done].data, messages[done].len);
    result = fs_publish_append(r, messages[done], framed, NULL, seq);
  }
  pthread_mutex_unlock(&r->lock);
  if (done == 0 && result != FS_EFULL) return result;
  fs_reactor_wake(r);
  return (int)done;
}

int fs_reactor_send(fs_reactor *r, uint64_t handle, const uint8_t *data, size_t len) {
  ssize_t framed = measure(r, data, len);
  if (framed < 0) return (int)framed;
  fs_insert *insert = malloc(sizeof *insert + (size_t)framed);
  if (!insert) return -ENOMEM;
  insert->len = (size_t)framed;
  r->config.codec->encode(insert->data, data, len);
  int result = FS_EGONE;
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn && conn->state == FS_OPEN) {
    result = fs_outbox_insert(&conn->outbox, insert, ++r->serial);
    if (result == 0) fs_reactor_enlist(&r->dirty, &conn->dirty_link);
  }
  pthread_mutex_unlock(&r->lock);
  if (result < 0)
    free(insert);
  else
    fs_reactor_wake(r);
  return result;
}

int fs_reactor_close_conn(fs_reactor *r, uint64_t handle, fs_reason reason) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  bool open = conn && conn->state == FS_OPEN && !conn->close_wanted;
  if (open) {
    conn->close_wanted = true;
    conn->close_reason = reason;
    fs_reactor_enlist(&r->dirty, &conn->dirty_link);
  }
  pthread_mutex_unlock(&r->lock);
  if (open) fs_reactor_wake(r);
  return open ? 0 : FS_EGONE;
}

void fs_reactor_close(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  r->closing = true;
  pthread_mutex_unlock(&r->lock);
  fs_reactor_wake(r);
}

void fs_reactor_wake(fs_reactor *r) {
  if (!atomic_load(&r->asleep) || !atomic_exchange(&r->asleep, false)) return;
  fs_sys_notify(r->wake_fd);
  fs_count(&r->counters.wakeups, 1);
}

/* ---- Waiting for the reactor ---- */

void fs_reactor_prepare(fs_reactor *r, fs_waiter *waiter, fs_wait_kind kind, uint64_t a) {
  *waiter = (fs_waiter){.kind = kind, .eventfd = -1, .a = a};
  fs_list_init(&waiter->link);
  if (kind != FS_WAIT_DRAIN) return;
  pthread_mutex_lock(&r->lock);
  waiter->a = atomic_load(&r->log.head);
  waiter->b = r->serial;
  pthread_mutex_unlock(&r->lock);
}

static bool room_met(fs_reactor *r, const fs_waiter *waiter) {
  fs_conn *conn = waiter->b ? fs_conns_find(&r->conns, waiter->b) : NULL;
  if (r->closing || (waiter->b && (!conn || conn->state != FS_OPEN))) return true;
  return fs_log_reserve(&r->log, waiter->a) &&
         (!conn || fs_outbox_has_room(&conn->outbox, waiter->a));
}

static bool drain_met(fs_reactor *r, const fs_waiter *waiter) {
  FS_LIST_EACH(link, &r->conns.all) {
    const fs_conn *conn = fs_container_of(link, fs_conn, link);
    bool open = conn->state == FS_OPEN || conn->state == FS_CLOSING;
    if (open && !fs_outbox_reached(&conn->outbox, waiter->a, waiter->b)) return false;
  }
  return true;
}

static bool met(fs_reactor *r, const fs_waiter *waiter) {
  switch (waiter->kind) {
    case FS_WAIT_ROOM:
      return room_met(r, waiter);
    case FS_WAIT_DRAIN:
      return drain_met(r, waiter);
    case FS_WAIT_COUNT:
      return r->open_count >= waiter->a || r->closing;
    case FS_WAIT_CLOSED:
      return r->closing && r->listen_fd < 0 && r->conns.count == 0;
  }
  FS_ASSERT(!"a kind of its own");
}

bool fs_reactor_met(fs_reactor *r, const fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  bool result = met(r, waiter);
  pthread_mutex_unlock(&r->lock);
  return result;
}

void fs_reactor_tell_waiters(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->waiters) {
    fs_waiter *waiter = fs_container_of(link, fs_waiter, link);
    if (waiter->eventfd >= 0 && met(r, waiter)) fs_sys_notify(waiter->eventfd);
  }
  pthread_mutex_unlock(&r->lock);
}

static void enter(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_push(&r->waiters, &waiter->link);
  pthread_mutex_unlock(&r->lock);
}

static void leave(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_remove(&waiter->link);
  pthread_mutex_unlock(&r->lock);
}

int fs_reactor_wait(fs_reactor *r, fs_waiter *waiter, int64_t timeout_ns) {
  int fd = fs_sys_eventfd();
  if (fd < 0) return fd;
  waiter->eventfd = fd;
  enter(r, waiter);
  /* The reactor takes one turn, so that it sees the waiter, and tells it if all is so already. */
  fs_reactor_wake(r);
  int result = fs_reactor_met(r, waiter) ? 1 : fs_sys_poll(fd, POLLIN, timeout_ns);
  leave(r, waiter);
  fs_sys_close(fd);
  waiter->eventfd = -1;
  return result > 0 ? 0 : result == 0 ? -ETIMEDOUT : result;
}

/* ---- Turns that only flush ---- */

static void flush_until_taken(fs_reactor *r) {
  if (r->blocked_count) (void)fs_reactor_poll(r, 0);
  do fs_flush_all(r);
  while (!fs_list_empty(&r->pending));
}

int fs_reactor_flush(fs_reactor *r) {
  if (pthread_mutex_trylock(&r->turn) != 0) {
    /* Who is in a turn flushes before it sleeps, and is woken if it sleeps already. */
    fs_reactor_wake(r);
    return 0;
  }
  r->now_ns = fs_sys_now_ns();
  flush_until_taken(r);
  fs_reactor_tell_waiters(r);
  pthread_mutex_unlock(&r->turn);
  return 0;
}

/* The publisher is the reactor for a while: it flushes and applies the slow policy, and leaves
 * what arrives for the next whole turn. */
static int flush_until_room(fs_reactor *r, const fs_waiter *waiter, int64_t timeout_ns) {
  uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : fs_sys_now_ns() + (uint64_t)timeout_ns;
  for (;;) {
    r->now_ns = fs_sys_now_ns();
    flush_until_taken(r);
    fs_flush_expire(r);
    if (fs_reactor_met(r, waiter)) return 0;
    if (r->now_ns >= until_ns) return -ETIMEDOUT;
    uint64_t next_ns = fs_min(r->deadline_ns, until_ns);
    int64_t wait_ns = next_ns > r->now_ns ? (int64_t)(next_ns - r->now_ns) : 0;
    int result = fs_reactor_poll(r, next_ns == UINT64_MAX ? -1 : wait_ns);
    if (result < 0) return result;
  }
}

int fs_reactor_make_room(fs_reactor *r, size_t bytes, uint64_t handle, int64_t timeout_ns) {
  fs_waiter waiter;
  fs_reactor_prepare(r, &waiter, FS_WAIT_ROOM, bytes + r->config.codec->header_len);
  waiter.b = handle;
  if (pthread_mutex_trylock(&r->turn) != 0) return fs_reactor_wait(r, &waiter, timeout_ns);
  enter(r, &waiter);
  int result = flush_until_room(r, &waiter, timeout_ns);
  leave(r, &waiter);
  fs_reactor_tell_waiters(r);
  pthread_mutex_unlock(&r->turn);
  return result;
}
