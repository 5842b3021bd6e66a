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
 */
#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#include "fs_poll.h"

int fs_poll_init(fs_poll *poll) {
  poll->fd = epoll_create1(EPOLL_CLOEXEC);
  return poll->fd < 0 ? -errno : 0;
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
  struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  int count = epoll_pwait2(poll->fd, events, FS_POLL_BATCH, timeout_ns < 0 ? NULL : &timeout, NULL);
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
