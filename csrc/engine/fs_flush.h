/* fs_flush.h: what the logs and the outboxes hold goes to the kernels.
 *
 * Purpose:   one send a connection and stream, as much as its kernel takes.
 * Ownership: none.
 * Threading: under turn, not under lock.
 * Limits:    config.flush_bytes of each stream at a time; a flush lasts FS_FLUSH_NS at most, and
 *            ends early if a driver waits for the turn.
 */
#ifndef FS_FLUSH_H
#define FS_FLUSH_H

#include "engine/fs_state.h"

enum {
  FS_FLUSH_NS = 2000000, /* then other work has its turn */
  FS_FLUSH_VISITS = 8,   /* connections flushed between two looks at the clock */
  FS_IOV_MAX = 64,
};

/* Takes what any thread has asked for, and hands the kernels what they take: first to connections
 * with messages of their own, then to the others. Connections that had no turn are in pending, in
 * front of those that have more. */
void fs_flush_all(fs_reactor *reactor);

/* As fs_flush_all, but leaves what was published to all for later. */
void fs_flush_asked(fs_reactor *reactor);

void fs_flush_one(fs_reactor *reactor, fs_conn *conn);

/* Tries a connection whose kernel took nothing more. */
void fs_flush_again(fs_reactor *reactor, fs_conn *conn);

/* Frees the logs up to their last readers, if one has moved; whether one had. */
bool fs_flush_move_tails(fs_reactor *reactor);

#endif
