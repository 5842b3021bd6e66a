/* fs_inbox.h: what one connection has received and not yet handed on.
 *
 * Purpose:   keeps an unfinished frame, or frames that could not be routed yet; an idle connection
 *            has none and costs nothing.
 * Ownership: the block belongs to its connection until it is retired; slices point into it.
 * Threading: the reactor's.
 * Limits:    the reactor's read size beside message_bytes_max and its header.
 */
#ifndef FS_INBOX_H
#define FS_INBOX_H

#include "wire/fs_codec.h"

typedef struct fs_inbox {
  struct fs_inbox *next; /* in the list of retired ones */
  size_t len, cap;
  uint8_t data[];
} fs_inbox;

/* Appends; grows by doubling. -ENOMEM: nothing was appended. *inbox may be NULL: none yet. */
int fs_inbox_push(fs_inbox **inbox, const uint8_t *data, size_t len);

/* Moves the block to the retired ones: this turn's events may still point into them. */
void fs_inbox_retire(fs_inbox **inbox, fs_inbox **retired);
void fs_inbox_free_all(fs_inbox **retired);

#endif
