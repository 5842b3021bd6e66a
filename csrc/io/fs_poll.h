/* fs_poll.h: waiting for readiness.
 *
 * Purpose:   the one interface to the readiness back end (fs_poll_epoll.c).
 * Ownership: the poll owns its own descriptors, not those it watches.
 * Threading: wait by one thread at a time; add and remove from any.
 * Limits:    FS_POLL_BATCH descriptors are reported by one wait; the rest by the next.
 *
 * Descriptors are watched once, for everything, edge-triggered: a change is reported once, so the
 * caller must remember "readable" or "writable" until a call fails with EAGAIN.
 */
#ifndef FS_POLL_H
#define FS_POLL_H

#include "base/fs_base.h"

enum { FS_POLL_BATCH = 512 };
enum { FS_POLL_IN = 1, FS_POLL_OUT = 2, FS_POLL_HUP = 4, FS_POLL_URGENT = 8 };

typedef struct fs_ready {
  uint64_t tag;
  uint32_t what; /* FS_POLL_* */
} fs_ready;

typedef struct fs_poll {
  int fd;
  int timer_fd;   /* for short waits where the kernel has no epoll_pwait2; else -1 */
  bool timer_set; /* by the last wait that had a timeout */
  fs_ready ready[FS_POLL_BATCH];
} fs_poll;

/* A poll that holds nothing, for fs_poll_fini. */
void fs_poll_clear(fs_poll *poll);

/* Tries the system calls that waiting needs. >= 0 or -errno: then the poll holds nothing. */
int fs_poll_init(fs_poll *poll);

/* Closes the poll's descriptors. Idempotent. */
void fs_poll_fini(fs_poll *poll);

/* >= 0 or -errno. A tag is not 0. */
int fs_poll_add(fs_poll *poll, int fd, uint64_t tag);
void fs_poll_remove(fs_poll *poll, int fd);

/* Waits up to timeout_ns (-1: without an end) and fills poll->ready. Returns how many there are, 0
 * when the time is over (24 days at most without epoll_pwait2), or -errno, -EINTR on a signal. */
int fs_poll_wait(fs_poll *poll, int64_t timeout_ns);

#endif
