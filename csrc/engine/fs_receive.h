/* fs_receive.h: reading.
 *
 * Purpose:   reads the connections that may have something to read.
 * Ownership: bytes are read into the reactor's arena, which all connections share.
 * Threading: under turn, not under lock.
 * Limits:    FS_READ_BYTES of a connection in a turn, or FS_RELAY_BYTES if messages become no
 *            events; FS_ARENA_BYTES in all.
 */
#ifndef FS_RECEIVE_H
#define FS_RECEIVE_H

#include "engine/fs_state.h"

enum {
  FS_READ_BYTES = 1 << 16,
  FS_RELAY_BYTES = 3 << 16, /* one send of 256 KiB takes it with what was left of the message
                               before */
};

void fs_receive_read(fs_reactor *reactor);

/* Reads what no handler is to get, since all connections are being closed. */
void fs_receive_discard(fs_reactor *reactor);

#endif
