/* fs_accept.h: callers become connections.
 *
 * Purpose:   accepts at all listening sockets in turn.
 * Ownership: a connection owns its descriptor.
 * Threading: under turn, not under lock.
 * Limits:    FS_ACCEPT_MAX callers in a turn; connections_max at a time, the others wait in the
 *            backlog.
 */
#ifndef FS_ACCEPT_H
#define FS_ACCEPT_H

#include "engine/fs_state.h"

enum {
  FS_ACCEPT_MAX = 256,
  FS_ACCEPT_PAUSE_NS = 100000000, /* when memory, or even the reserve, has run out */
};

/* Accepts callers; they are in untold then. */
void fs_accept(fs_reactor *reactor);

#endif
