#include "engine/fs_slow.h"

#include "engine/fs_close.h"
#include "engine/fs_flush.h"
#include "engine/fs_waiter.h"

/* Full outboxes that one turn deals with; the others follow. */
enum { WANTED_MAX = 64 };

/* How often blocked connections are tried in a grace while a thread waits; see try_blocked. A
 * reader that was the limit for less time than lies between two tries has no known speed. */
enum { TRIES_PER_GRACE = 8 };

/* A reader is slow if it takes less than one part in so many of what another takes. */
enum { SLOWER_TIMES = 2 };

/* Bytes that a reader which takes all at once does not leave in its kernel's queue. */
enum { LONG_QUEUE = 1 << 16 };

/* ---- Slow consumers ---- */

static void drop_oldest(fs_reactor *r, fs_sub *sub) {
  fs_conn *conn = sub->conn;
  uint64_t lost;
  pthread_mutex_lock(&r->lock);
  uint64_t before = sub->box.cursor;
  uint64_t target = fs_min(fs_log_newest_half(&sub->channel->log), atomic_load(&sub->box.end));
  const fs_notice *notice = r->config.gap_notice.codec ? &r->config.gap_notice : NULL;
  int result = fs_outbox_jump(&sub->box, target, notice, &lost);
  pthread_mutex_unlock(&r->lock);
  if (result < 0) {
    fs_close_kill(r, conn, FS_REASON_MEMORY);
    return;
  }
  if (sub->box.cursor != before) sub->channel->tail_stale = true;
  sub->gap_count += lost;
  fs_count(&conn->dropped, lost);
  fs_count(&r->counters.dropped, lost);
  if (lost) fs_state_enlist(&r->untold, &conn->untold_link);
}

/* A kernel calls a socket writable only when a good part of its buffer is free. A peer that reads
 * slowly but steadily may have taken something all the same, and only an attempt shows it: whether
 * the last one did, or ended the connection. */
static bool has_moved(const fs_conn *conn, uint64_t sent_before) {
  bool flowing = conn->state == FS_OPEN || conn->state == FS_CLOSING;
  return !flowing || atomic_load(&conn->bytes_sent) != sent_before;
}

/* A thread waits, and blocked connections may be in its way. Trying all of them shows when each
 * last took something. A single try at the end of a grace would find what was taken at its
 * beginning, and so give each of them a second grace, one after the other. */
static void try_blocked(fs_reactor *r, fs_channel *channel) {
  if (channel->try_at_ns <= r->now_ns) {
    channel->try_at_ns = r->now_ns + channel->slow_grace_ns / TRIES_PER_GRACE;
    FS_LIST_EACH(link, &channel->subs) {
      fs_conn *conn = fs_container_of(link, fs_sub, channel_link)->conn;
      if (conn->blocked) fs_flush_again(r, conn);
    }
  }
  r->deadline_ns = fs_min(r->deadline_ns, channel->try_at_ns);
}

/* ---- Readers that hold others up ---- */

/* A byte taken now and then must not renew a grace forever. So each run notes the readers that hold
 * up others that are far ahead, and the next run adds up the time: until it was due, and no longer,
 * since a thread that still waited would have caused it. */
static void add_up_holding(fs_reactor *r) {
  uint64_t until_ns = fs_max(r->looked_ns, fs_min(r->now_ns, r->deadline_ns));
  FS_LIST_EACH(link, &r->holding) {
    fs_list_remove(link);
    fs_pace_hold(&fs_container_of(link, fs_conn, hold_link)->pace, r->looked_ns, until_ns);
  }
}

/* Readers that have had all, as far as the engine knows. Their kernels may still hold as much for
 * them as those of the others do. */
typedef struct ahead {
  uint64_t speed; /* of the fastest one whose speed is known */
  size_t queued;  /* the shortest queue of those whose speed is not */
} ahead;

static uint64_t speed_of(const fs_reactor *r, fs_conn *conn, uint64_t slow_grace_ns) {
  uint64_t known_ns = slow_grace_ns / TRIES_PER_GRACE;
  fs_pace_age(&conn->pace, r->now_ns, FS_PACE_WINDOW * slow_grace_ns, known_ns);
  return fs_pace_speed(&conn->pace, r->now_ns, fs_conn_taken(conn), known_ns);
}

static void count_ahead(const fs_reactor *r, fs_conn *conn, uint64_t slow_grace_ns, ahead *others) {
  size_t queued = fs_sys_queued(conn->fd);
  bool is_long = queued >= LONG_QUEUE;
  fs_pace_look(&conn->pace, r->now_ns, fs_conn_taken(conn), is_long, slow_grace_ns);
  uint64_t speed = speed_of(r, conn, slow_grace_ns);
  if (speed == FS_PACE_UNKNOWN)
    others->queued = fs_min(others->queued, queued);
  else
    others->speed = fs_max(others->speed, speed);
}

/* The connection holds up those that are ahead. Ends it if it has done so for longer than its
 * grace. A reader of unknown speed may be as fast as it likes if its kernel's queue is much
 * shorter. */
static void hold(fs_reactor *r, fs_conn *conn, const ahead *others, uint64_t slow_grace_ns) {
  uint64_t speed = speed_of(r, conn, slow_grace_ns);
  if (speed == FS_PACE_UNKNOWN) return;
  bool is_behind = others->queued < fs_sys_queued(conn->fd) / SLOWER_TIMES;
  if (!is_behind && speed >= others->speed / SLOWER_TIMES) return;
  if (conn->pace.held_ns >= slow_grace_ns)
    fs_close_kill(r, conn, FS_REASON_SLOW);
  else
    fs_state_enlist(&r->holding, &conn->hold_link);
}

/* A thread waits for room in the channel's log: finds readers that have had next to nothing while
 * others have had nearly all. A reader that is the limit among equals is about as fast as they are,
 * and a lone reader holds up no other. */
static void hold_readers(fs_reactor *r, fs_channel *channel) {
  uint64_t head = atomic_load(&channel->log.head), tail = atomic_load(&channel->log.tail);
  uint64_t quarter = (head - tail) / 4;
  ahead others = {.queued = SIZE_MAX};
  FS_LIST_EACH(link, &channel->subs) {
    fs_sub *sub = fs_container_of(link, fs_sub, channel_link);
    if (sub->conn->blocked || sub->conn->state != FS_OPEN) continue;
    if (sub->box.cursor + quarter < head) continue;
    count_ahead(r, sub->conn, channel->slow_grace_ns, &others);
  }
  FS_LIST_EACH(link, &channel->subs) {
    fs_sub *sub = fs_container_of(link, fs_sub, channel_link);
    if (sub->conn->blocked && sub->box.cursor <= tail + quarter)
      hold(r, sub->conn, &others, channel->slow_grace_ns);
  }
}

/* A thread waits for room in the outbox of conn. It holds up the other connections that the same
 * thread sends to and that have had all it gave them. Connections with a thread of their own are
 * not held up, and a thread that sends to one connection alone goes at its pace. */
static void hold_receiver(fs_reactor *r, fs_conn *conn, uintptr_t sender) {
  uint64_t window_ns = FS_PACE_WINDOW * r->config.slow_grace_ns;
  ahead others = {.queued = SIZE_MAX};
  FS_LIST_EACH(link, &r->conns.all) {
    fs_conn *other = fs_container_of(link, fs_conn, link);
    if (other == conn || other->blocked || other->state != FS_OPEN) continue;
    if (atomic_load_explicit(&other->sender, memory_order_relaxed) != sender) continue;
    if (atomic_load(&other->last_sent_ns) + window_ns < r->now_ns) continue;
    count_ahead(r, other, r->config.slow_grace_ns, &others);
  }
  hold(r, conn, &others, r->config.slow_grace_ns);
}

/* ---- Graces that are over ---- */

static void disconnect_if_overdue(fs_reactor *r, fs_conn *conn, uint64_t slow_grace_ns) {
  if (conn->blocked_ns + slow_grace_ns <= r->now_ns) {
    uint64_t before = atomic_load(&conn->bytes_sent);
    fs_flush_again(r, conn);
    if (!has_moved(conn, before)) {
      fs_close_kill(r, conn, FS_REASON_SLOW);
      return;
    }
  }
  if (conn->blocked) r->deadline_ns = fs_min(r->deadline_ns, conn->blocked_ns + slow_grace_ns);
}

/* A thread waits for room in the channel's log: applies the policy to the readers that hold the
 * tail and take nothing. */
static void press_readers(fs_reactor *r, fs_channel *channel) {
  uint64_t tail = atomic_load(&channel->log.tail);
  if (channel->policy == FS_POLICY_BLOCK) return;
  if (channel->policy == FS_POLICY_DISCONNECT) {
    try_blocked(r, channel);
    hold_readers(r, channel);
  }
  FS_LIST_EACH(link, &channel->subs) {
    fs_sub *sub = fs_container_of(link, fs_sub, channel_link);
    if (!sub->conn->blocked || sub->box.cursor != tail) continue;
    if (channel->policy == FS_POLICY_DROP_OLDEST)
      drop_oldest(r, sub);
    else
      disconnect_if_overdue(r, sub->conn, channel->slow_grace_ns);
  }
}

/* Where room is wanted: the logs of these channels, the outboxes of these connections. */
typedef struct wants {
  bool channels[FS_CHANNELS_MAX];
  uint64_t handles[WANTED_MAX];
  uintptr_t senders[WANTED_MAX]; /* the threads that wait for them */
  uint32_t handle_count;
} wants;

/* Lists them under the lock, so that the caller can act without it. */
static void list_wants(fs_reactor *r, wants *wanted) {
  pthread_mutex_lock(&r->lock);
  atomic_store(&r->room_wanted, false);
  FS_LIST_EACH(link, &r->waiters) {
    const fs_waiter *waiter = fs_container_of(link, fs_waiter, link);
    const fs_wanted_room *room = &waiter->room;
    if (waiter->kind != FS_WAIT_ROOM || fs_waiter_has_room(r, room)) continue;
    if (!fs_waiter_has_log(r, room))
      wanted->channels[room->channel] = true;
    else if (wanted->handle_count < WANTED_MAX) {
      wanted->senders[wanted->handle_count] = room->sender;
      wanted->handles[wanted->handle_count++] = room->handle;
    }
  }
  pthread_mutex_unlock(&r->lock);
}

static void expire_slow(fs_reactor *r) {
  if (r->blocked_count == 0 && !atomic_load(&r->room_wanted)) return;
  wants wanted = {.handle_count = 0};
  list_wants(r, &wanted);
  if (r->blocked_count == 0) return;
  wanted.channels[0] |= !fs_list_empty(&r->stalled);
  for (uint32_t i = 0; i < r->channel_count; i++)
    if (wanted.channels[i]) press_readers(r, r->channels[i]);
  if (wanted.handle_count == 0 || r->config.policy == FS_POLICY_BLOCK) return;
  /* A direct message is never dropped: under drop_oldest, too, its reader has slow_grace. */
  try_blocked(r, r->channels[0]);
  for (uint32_t i = 0; i < wanted.handle_count; i++) {
    fs_conn *conn = fs_conns_find(&r->conns, wanted.handles[i]);
    if (conn && conn->blocked) hold_receiver(r, conn, wanted.senders[i]);
    if (conn && conn->blocked) disconnect_if_overdue(r, conn, r->config.slow_grace_ns);
  }
}

void fs_slow_apply(fs_reactor *r) {
  add_up_holding(r);
  r->looked_ns = r->now_ns;
  r->deadline_ns = UINT64_MAX;
  /* Once the slowest has gone, the next one may be in the way. */
  do expire_slow(r);
  while (fs_flush_move_tails(r));
}
