/* Some facts about epoll, and what they mean here:
 *
 * - Edge-triggered registration reports every new event once, also for descriptors that were ready
 *   before they were added. We register IN and OUT together and never call epoll_ctl(MOD).
 * - A TCP socket reports OUT again only after a send found its buffer full, so an idle or fast
 *   connection costs no wake-up for its acknowledgements.
 * - Every write to an eventfd is a new edge, so the wake-up eventfd is never read.
 * - An epoll descriptor is itself readable while it has something to report: that is what lets
 *   another event loop watch the server's fileno().
 * - close(2) removes a descriptor from the set, since we never duplicate one.
 * - epoll_pwait2(2) waits to the nanosecond. Linux has it since 5.11; gVisor, valgrind and older
 *   seccomp profiles refuse it (ENOSYS or EPERM). epoll_wait(2) counts milliseconds, and rounds
 *   nothing: below TIMER_BELOW_NS a timerfd in the set ends the wait in time; above, waiting up to
 *   a millisecond too long is an error below one per cent, which saves the call that sets a timer.
 * - glibc has a function for epoll_pwait2 since 2.35; syscall(2) works with any glibc.
 */
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/fs_poll.h"
#include "io/fs_sys.h"
#include "io/fs_sys_linux.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* on every architecture but alpha */
#endif

enum { MS_NS = 1000000, TIMER_BELOW_NS = 100 * MS_NS };
enum { TAG_TIMER = 0 }; /* which no caller uses */

/* The kernel's timespec: 64 bits each on every architecture. */
typedef struct kernel_time {
  int64_t sec, nsec;
} kernel_time;

static int wait_exact(const fs_poll *poll, struct epoll_event *events, int64_t timeout_ns) {
  kernel_time timeout = {.sec = timeout_ns / 1000000000, .nsec = timeout_ns % 1000000000};
  return (int)syscall(SYS_epoll_pwait2, poll->fd, events, FS_POLL_BATCH,
                      timeout_ns < 0 ? NULL : &timeout, NULL, (size_t)0);
}

/* Whether the timer ends this wait. One that an earlier wait has set is disarmed. */
static bool set_timer(fs_poll *poll, int64_t timeout_ns) {
  bool needed = timeout_ns > 0 && timeout_ns < TIMER_BELOW_NS;
  if (timeout_ns != 0 && (needed || poll->timer_set)) {
    fs_sys_timer_set(poll->timer_fd, needed ? fs_sys_now_ns() + (uint64_t)timeout_ns : 0);
    poll->timer_set = needed;
  }
  return needed;
}

/* Milliseconds for epoll_wait, rounded up. */
static int ms_of(int64_t timeout_ns) {
  return (int)fs_min(timeout_ns / MS_NS + (timeout_ns % MS_NS != 0), INT_MAX);
}

static int without_timer(struct epoll_event *events, int count) {
  for (int i = 0; i < count; i++)
    if (events[i].data.u64 == TAG_TIMER) events[i] = events[--count];
  return count;
}

static int wait_coarse(fs_poll *poll, struct epoll_event *events, int64_t timeout_ns) {
  int timeout_ms = set_timer(poll, timeout_ns) || timeout_ns < 0 ? -1 : ms_of(timeout_ns);
  int count = epoll_wait(poll->fd, events, FS_POLL_BATCH, timeout_ms);
  return without_timer(events, count);
}

/* epoll_pwait2 is refused: what takes its place is made, and tried. */
static int fall_back(fs_poll *poll) {
  int result = poll->timer_fd = fs_sys_timerfd();
  if (result >= 0) result = fs_poll_add(poll, poll->timer_fd, TAG_TIMER);
  return result < 0 ? result : fs_poll_wait(poll, 0);
}

void fs_poll_clear(fs_poll *poll) {
  poll->fd = poll->timer_fd = -1;
  poll->timer_set = false;
}

int fs_poll_init(fs_poll *poll) {
  fs_poll_clear(poll);
  poll->fd = epoll_create1(EPOLL_CLOEXEC);
  if (poll->fd < 0) return -errno;
  int result = fs_poll_wait(poll, 0);
  if (result < 0) result = fall_back(poll);
  if (result < 0) fs_poll_fini(poll);
  return result;
}

void fs_poll_fini(fs_poll *poll) {
  if (poll->timer_fd >= 0) fs_sys_close(poll->timer_fd);
  if (poll->fd >= 0) fs_sys_close(poll->fd);
  fs_poll_clear(poll);
}

int fs_poll_add(fs_poll *poll, int fd, uint64_t tag) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
                              .data.u64 = tag};
  return epoll_ctl(poll->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void fs_poll_remove(fs_poll *poll, int fd) {
  /* Fails only where the descriptor is not watched, which is what is asked for. */
  (void)epoll_ctl(poll->fd, EPOLL_CTL_DEL, fd, NULL);
}

int fs_poll_wait(fs_poll *poll, int64_t timeout_ns) {
  struct epoll_event events[FS_POLL_BATCH];
  int count = poll->timer_fd < 0 ? wait_exact(poll, events, timeout_ns)
                                 : wait_coarse(poll, events, timeout_ns);
  if (count < 0) return -errno;
  for (int i = 0; i < count; i++) {
    uint32_t bits = events[i].events;
    poll->ready[i].tag = events[i].data.u64;
    uint32_t what = bits & EPOLLIN ? FS_POLL_IN : 0;
    if (bits & EPOLLOUT) what |= FS_POLL_OUT;
    if (bits & EPOLLPRI) what |= FS_POLL_URGENT;
    if (bits & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) what |= FS_POLL_HUP;
    poll->ready[i].what = what;
  }
  return count;
}
