/* fs_listener.h: the sockets at which a server can be called.
 *
 * Purpose:   accepts the callers of all of them in turn, and refuses a caller if the process has
 *            no descriptor left for it.
 * Ownership: the listening descriptors and the reserve are the set's, from a successful open on.
 * Threading: one thread at a time.
 * Limits:    FS_LISTENERS_MAX sockets.
 *
 * Out of descriptors, accept(2) fails and leaves the caller in the backlog, where it waits for
 * something that may never come. So one descriptor is kept in reserve. It is closed, the caller is
 * accepted in its place, and closed at once.
 */
#ifndef FS_LISTENER_H
#define FS_LISTENER_H

#include "io/fs_sys.h"

enum { FS_LISTENERS_MAX = 64 };

typedef struct fs_listener {
  int fd;
  bool ready; /* a caller may wait in its backlog */
} fs_listener;

typedef struct fs_listeners {
  fs_listener all[FS_LISTENERS_MAX];
  uint32_t count; /* 0: closed */
  uint32_t ready_count;
  uint32_t next;  /* index of the next one to accept at */
  int reserve_fd; /* below 0: lost to another thread, and not to be had now */
} fs_listeners;

/* A closed set. */
void fs_listeners_init(fs_listeners *set);

/* Takes over listening, non-blocking sockets. -EINVAL (not 1 to FS_LISTENERS_MAX of them), -errno:
 * they stay the caller's, and the set is closed. */
int fs_listeners_open(fs_listeners *set, const int *fds, uint32_t count);

/* Closes everything. Idempotent. */
void fs_listeners_close(fs_listeners *set);

/* Notes that a caller may wait at the socket of that index. */
void fs_listeners_note(fs_listeners *set, uint32_t index);

/* The next caller at a socket that was noted: see fs_sys_accept. -EAGAIN: no caller waits at any of
 * them. FS_EREFUSED: a caller was closed at once, since no descriptor was left for it; another one
 * may wait. Any other -errno is of one caller or socket, and all that was noted is kept. */
int fs_listeners_accept(fs_listeners *set, fs_addr *peer);

#endif
