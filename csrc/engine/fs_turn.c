#include "engine/fs_turn.h"

#include "engine/fs_accept.h"
#include "engine/fs_close.h"
#include "engine/fs_flush.h"
#include "engine/fs_idle.h"
#include "engine/fs_reactor.h"
#include "engine/fs_receive.h"
#include "engine/fs_route.h"
#include "engine/fs_slow.h"
#include "engine/fs_waiter.h"

/* ---- Sleeping ---- */

/* Whether a turn would find something to do without waiting. */
static bool has_work(const fs_reactor *r) {
  if (!fs_list_empty(&r->pending) || fs_state_has_news(r)) return true;
  if (r->now_ns >= fs_state_due_ns(r)) return true;
  return fs_state_asked(r) || fs_state_must_close(r);
}

static int64_t bounded_timeout(const fs_reactor *r, int64_t timeout_ns) {
  uint64_t until = fs_state_due_ns(r);
  if (r->listeners.ready_count && r->accept_at_ns > r->now_ns)
    until = fs_min(until, r->accept_at_ns);
  if (until == UINT64_MAX) return timeout_ns;
  uint64_t bound = until > r->now_ns ? until - r->now_ns : 0;
  return timeout_ns < 0 || bound < (uint64_t)timeout_ns ? (int64_t)bound : timeout_ns;
}

/* Polls for busy_poll_us before it is worth sleeping. */
static int spin(fs_reactor *r, int64_t timeout_ns) {
  uint64_t spin_ns = r->config.busy_poll_ns, until_ns = r->now_ns + spin_ns;
  if (timeout_ns >= 0) until_ns = fs_min(until_ns, r->now_ns + (uint64_t)timeout_ns);
  int count = 0;
  fs_waiter_tell(r, false);
  while (count == 0 && r->now_ns < until_ns && !has_work(r)) {
    count = fs_state_poll(r, 0);
    r->now_ns = fs_sys_now_ns();
  }
  return count;
}

/* Sleeps: stores asleep, checks once more, then waits; see fs_borrow.h. */
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
      fs_waiter_tell(r, false); /* of what is so already */
  }
  result = fs_state_poll(r, timeout_ns == 0 ? 0 : bounded_timeout(r, timeout_ns));
  atomic_store(&r->asleep, false);
  r->now_ns = fs_sys_now_ns();
  return result;
}

/* ---- Reporting ---- */

/* Reports a connection before anything else of it, and what was lost before the end of the
 * connection that lost it. */
static void report_untold(fs_reactor *r) {
  FS_LIST_EACH(link, &r->untold) {
    fs_conn *conn = fs_container_of(link, fs_conn, untold_link);
    if (r->event_count == FS_EVENTS_MAX) return;
    if (!conn->announced) fs_state_report(r, FS_CONNECTED, conn);
    conn->announced = true;
    for (fs_sub *sub = &conn->main; sub; sub = sub->next) {
      if (sub->gap_count == 0) continue;
      if (r->event_count == FS_EVENTS_MAX) return;
      fs_event *event = fs_state_report(r, FS_GAP, conn);
      event->channel = sub->channel->number;
      event->lost = sub->gap_count;
      sub->gap_count = 0;
    }
    fs_list_remove(link);
    /* A subscription that has ended waited for this. */
    if (conn->main.next && conn->state != FS_DEAD)
      fs_state_enlist(&r->pending, &conn->pending_link);
  }
}

static void report_dead(fs_reactor *r) {
  FS_LIST_EACH(link, &r->dead) {
    if (r->event_count == FS_EVENTS_MAX) return;
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (!fs_list_empty(&conn->untold_link)) continue;
    fs_state_report(r, FS_DISCONNECTED, conn);
    fs_list_remove(link);
    fs_list_push(&r->reported, link);
  }
}

/* ---- Beginning and end ---- */

bool fs_turn_is_drivers(const fs_reactor *r) {
  if (atomic_load(&r->turn_wanted)) return true;
  return atomic_load(&r->embedded) && fs_state_has_news(r);
}

/* If another event loop waits for us, publishers, deadlines and remaining work must wake it. */
static void prepare_embedded(fs_reactor *r) {
  if (!atomic_load(&r->embedded) || r->poll.fd < 0) return;
  int64_t wait_ns = bounded_timeout(r, -1);
  fs_sys_timer_set(r->timer_fd, wait_ns < 0 ? 0 : r->now_ns + (uint64_t)wait_ns);
  atomic_store(&r->asleep, true);
  if (has_work(r)) fs_sys_notify(r->wake_fd);
}

bool fs_turn_try(fs_reactor *r) {
  if (atomic_load(&r->turn_wanted) || pthread_mutex_trylock(&r->turn) != 0) return false;
  r->now_ns = fs_sys_now_ns();
  return true;
}

/* A driver's turn has priority over borrowed ones. */
static void begin_turn(fs_reactor *r) {
  if (pthread_mutex_trylock(&r->turn) == 0) return;
  atomic_fetch_add(&r->turn_wanted, 1);
  fs_state_wake(r);
  pthread_mutex_lock(&r->turn);
  atomic_fetch_sub(&r->turn_wanted, 1);
}

bool fs_turn_end(fs_reactor *r) {
  prepare_embedded(r);
  bool offered = !fs_turn_is_drivers(r);
  pthread_mutex_unlock(&r->turn);
  /* After unlocking, since one of them may take the turn. */
  fs_waiter_tell(r, offered);
  return atomic_load(&r->flush_wanted);
}

void fs_turn_begin_closing(fs_reactor *r) {
  if (!fs_state_must_close(r)) return;
  bool hearing = atomic_load(&r->hearing);
  if (hearing) fs_accept(r);
  /* Another process may hold them, too; epoll must stop reporting them. */
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
  /* Messages that waited for room in the log find that nothing is relayed any more. */
  fs_list_append(&r->ready, &r->stalled);
}

static void close_if_done(fs_reactor *r) {
  if (!atomic_load(&r->closing)) return;
  pthread_mutex_lock(&r->lock);
  if (!r->listening && fs_list_empty(&r->conns.all)) fs_state_close(r);
  pthread_mutex_unlock(&r->lock);
}

void fs_turn_tidy(fs_reactor *r) {
  r->event_count = 0;
  r->arena_used = 0;
  fs_inbox_free_all(&r->retired);
  fs_close_release(r);
  close_if_done(r);
}

/* ---- One turn ---- */

/* One turn, whose lock is taken and released elsewhere. */
static int turn(fs_reactor *r, int64_t timeout_ns) {
  /* What the handlers of the last turn have sent and closed comes first: an answer does not wait
   * for a poll, and then nothing keeps us from sleeping. */
  r->now_ns = fs_sys_now_ns();
  if (r->cut_short) fs_route_share(r);
  fs_flush_all(r);
  report_untold(r);
  report_dead(r);
  if (r->event_count > 0) timeout_ns = 0;
  int result = sleep_or_poll(r, timeout_ns);
  if (result < 0 && r->event_count == 0) return result;
  fs_turn_begin_closing(r);
  fs_accept(r);
  report_untold(r);
  fs_receive_read(r);
  fs_flush_all(r);
  fs_idle_expire(r);
  fs_slow_apply(r);
  report_untold(r);
  report_dead(r);
  fs_count(&r->counters.turns, 1);
  int count = (int)r->event_count;
  bool lone = count == 1 && r->events[0].kind == FS_MESSAGE;
  atomic_store_explicit(&r->lone, lone, memory_order_relaxed);
  return count;
}

bool fs_reactor_consumed(fs_reactor *r) {
  fs_turn_tidy(r);
  return fs_turn_end(r);
}

void fs_reactor_catch_up(fs_reactor *r) {
  if (!atomic_load(&r->flush_wanted) || !fs_turn_try(r)) return;
  /* Before the flush: a thread that asks and does not see it asked before the flush. */
  atomic_fetch_add(&r->leaving, 1);
  fs_flush_all(r);
  (void)fs_turn_end(r);
  atomic_fetch_sub(&r->leaving, 1);
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

/* Between two turns in a row: there were no events, and no other thread needs the turn. */
static void go_on(fs_reactor *r) {
  fs_turn_tidy(r);
  fs_waiter_tell(r, false);
}

/* Whether callers were refused since the last call. */
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

int fs_reactor_embed(fs_reactor *r) {
  pthread_mutex_lock(&r->lock);
  atomic_store(&r->embedded, true);
  atomic_store(&r->asleep, true);
  /* What was published before has not woken the other loop. */
  if (r->wake_fd >= 0) fs_sys_notify(r->wake_fd);
  int fd = r->poll.fd;
  pthread_mutex_unlock(&r->lock);
  return fd;
}
