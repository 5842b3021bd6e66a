#include "engine/fs_borrow.h"

#include "engine/fs_accept.h"
#include "engine/fs_flush.h"
#include "engine/fs_idle.h"
#include "engine/fs_publish.h"
#include "engine/fs_reactor.h"
#include "engine/fs_receive.h"
#include "engine/fs_slow.h"
#include "engine/fs_turn.h"
#include "engine/fs_waiter.h"

/* Flushes until the kernels take nothing more, or a driver wants the turn. */
static void flush_until_taken(fs_reactor *r) {
  for (;;) {
    fs_flush_all(r);
    if (fs_list_empty(&r->pending) || atomic_load(&r->turn_wanted)) return;
    fs_waiter_tell(r, false);
  }
}

/* ---- Waiting ---- */

/* Does what the threads on the list of waiters need of a turn. */
static void serve_waiters(fs_reactor *r) {
  bool closing = fs_waiter_any(r, FS_WAIT_CLOSED);
  if (closing) fs_turn_begin_closing(r);
  if (fs_waiter_any(r, FS_WAIT_COUNT)) fs_accept(r);
  if (closing && atomic_load(&r->closing) && !atomic_load(&r->hearing)) fs_receive_discard(r);
  flush_until_taken(r);
  fs_idle_expire(r);
  fs_slow_apply(r);
  fs_turn_tidy(r);
}

static bool has_work(const fs_reactor *r) {
  if (fs_state_asked(r) || !fs_list_empty(&r->pending)) return true;
  if (fs_waiter_any(r, FS_WAIT_COUNT) && fs_state_can_accept(r)) return true;
  if (!fs_waiter_any(r, FS_WAIT_CLOSED) || !atomic_load(&r->closing)) return false;
  return fs_state_must_close(r) || (!atomic_load(&r->hearing) && !fs_list_empty(&r->ready));
}

/* Sleeps, unless there is something to do. */
static int poll_asleep(fs_reactor *r, const fs_waiter *waiter, uint64_t until_ns) {
  uint64_t next_ns = fs_min(fs_state_due_ns(r), until_ns);
  if (fs_waiter_any(r, FS_WAIT_COUNT) && r->listeners.ready_count && r->accept_at_ns > r->now_ns)
    next_ns = fs_min(next_ns, r->accept_at_ns);
  int64_t wait_ns = next_ns > r->now_ns ? (int64_t)(next_ns - r->now_ns) : 0;
  if (next_ns == UINT64_MAX) wait_ns = -1;
  atomic_store(&r->asleep, true);
  if (has_work(r) || fs_reactor_met(r, waiter)) wait_ns = 0;
  fs_waiter_tell(r, false);
  int result = fs_state_poll(r, wait_ns);
  atomic_store(&r->asleep, false);
  return result;
}

/* Runs turns until the waiter's condition holds. FS_EBUSY: the next turn is a driver's. */
static int drive_until(fs_reactor *r, const fs_waiter *waiter, uint64_t until_ns) {
  int result = r->poll.fd < 0 ? 0 : fs_state_poll(r, 0);
  while (result >= 0) {
    r->now_ns = fs_sys_now_ns();
    serve_waiters(r);
    if (fs_reactor_met(r, waiter)) return 0;
    if (r->now_ns >= until_ns) return -ETIMEDOUT;
    if (fs_turn_is_drivers(r)) return FS_EBUSY;
    result = r->poll.fd < 0 ? 0 : poll_asleep(r, waiter, until_ns);
  }
  return result;
}

/* Sleeps until told. With an event loop that may not come to drive, perhaps because this is its
 * thread, it sleeps no longer than FS_EMBEDDED_NS. */
static int await_told(fs_reactor *r, fs_waiter *waiter, uint64_t until_ns) {
  uint64_t look_ns = UINT64_MAX;
  if (atomic_load(&r->embedded)) look_ns = fs_sys_now_ns() + FS_EMBEDDED_NS;
  int result = fs_sys_await(&waiter->told, fs_min(look_ns, until_ns));
  return result == -ETIMEDOUT && look_ns < until_ns ? 0 : result;
}

/* Drives while no other thread does. */
static int wait_on_list(fs_reactor *r, fs_waiter *waiter, uint64_t until_ns) {
  for (;;) {
    if (fs_reactor_met(r, waiter)) return 0;
    int result = FS_EBUSY;
    if (fs_turn_try(r)) {
      result = drive_until(r, waiter, until_ns);
      (void)fs_turn_end(r);
    }
    if (result == FS_EBUSY) result = await_told(r, waiter, until_ns);
    if (result == -ETIMEDOUT && fs_reactor_met(r, waiter)) return 0;
    if (result < 0) return result;
  }
}

static int borrow_until(fs_reactor *r, fs_waiter *waiter, uint64_t until_ns) {
  fs_waiter_enter(r, waiter);
  /* A thread that sleeps in a turn must see the new waiter. */
  fs_state_wake(r);
  int result = wait_on_list(r, waiter, until_ns);
  fs_waiter_leave(r, waiter);
  return result;
}

/* ---- Flushing and waiting ---- */

/* Waits until a thread flushes, perhaps this one: no longer than a flush or two. */
static void await_flush(fs_reactor *r) {
  fs_waiter waiter;
  fs_reactor_prepare(r, &waiter, FS_WAIT_FLUSH);
  while (borrow_until(r, &waiter, UINT64_MAX) == -EINTR) continue;
}

void fs_reactor_flush(fs_reactor *r) {
  atomic_store(&r->flush_wanted, true);
  while (fs_turn_try(r)) {
    if (r->poll.fd >= 0 && r->blocked_count) (void)fs_state_poll(r, 0);
    flush_until_taken(r);
    /* A thread that asked between the flush and the end of the turn found the turn taken. */
    if (!fs_turn_end(r)) return;
  }
  /* The thread in the turn flushes, and is woken if it sleeps; but one that leaves does not check
   * again. */
  fs_state_wake(r);
  if (atomic_load(&r->leaving)) await_flush(r);
}

int fs_reactor_wait(fs_reactor *r, fs_waiter *waiter, int64_t timeout_ns) {
  uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : fs_sys_now_ns() + (uint64_t)timeout_ns;
  int result = borrow_until(r, waiter, until_ns);
  /* A thread that asked in our turn, after its last flush, relies on us. */
  if (atomic_load(&r->flush_wanted)) fs_reactor_flush(r);
  return result;
}

/* ---- Answering ---- */

/* Sends the answer to a lone message, unless a turn has other work, too, since Python's other
 * threads stand still during it. Whether it did; *wanted as fs_reactor_send returns it. */
static bool answer_lone(fs_reactor *r, int *wanted) {
  if (!fs_turn_try(r)) return false;
  bool alone = fs_list_empty(&r->pending);
  if (alone) fs_flush_asked(r);
  *wanted = fs_turn_end(r);
  return alone;
}

int fs_reactor_send(fs_reactor *r, uint64_t handle, const uint8_t *data, size_t len) {
  int wanted = 0, lone = fs_publish_direct(r, handle, data, len);
  if (lone < 0) return lone;
  if (!lone || !answer_lone(r, &wanted)) fs_state_wake(r);
  return wanted;
}
