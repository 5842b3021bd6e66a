/* fs_close.h: connections end.
 *
 * Purpose:   ends a connection in an orderly way, because sending failed, or at once.
 * Ownership: a dead connection has no descriptor and no inbox; its record is freed once its end was
 *            reported.
 * Threading: under turn, not under lock.
 * Limits:    an orderly close lasts as long as the linger.
 */
#ifndef FS_CLOSE_H
#define FS_CLOSE_H

#include <errno.h>

#include "engine/fs_state.h"

/* What an error of a send or recv says about the peer. EPIPE: its end of stream came first. */
static inline fs_reason fs_close_reason_of(int error) {
  return error == 0 || error == -EPIPE ? FS_REASON_PEER : FS_REASON_RESET;
}

/* Begins an orderly close of an open connection: flush, shut our side, read to the end. */
void fs_close_begin(fs_reactor *reactor, fs_conn *conn, fs_reason reason);

/* All that a closing connection had to send is with the kernel. */
void fs_close_flushed(fs_reactor *reactor, fs_conn *conn);

/* The connection cannot send any more; what its peer had sent before may still be read. */
void fs_close_broken(fs_reactor *reactor, fs_conn *conn, int error);

/* Ends a connection at once. The reason of a close that has begun stays. */
void fs_close_kill(fs_reactor *reactor, fs_conn *conn, fs_reason reason);

/* Frees the records of connections whose end was reported. */
void fs_close_release(fs_reactor *reactor);

#endif
