/* fs_publish.h: messages go into logs and outboxes.
 *
 * Purpose:   one copy in a log for all readers of a channel, or one in an outbox for one reader.
 * Ownership: the log or the outbox owns what is queued.
 * Threading: any thread; see each function.
 * Limits:    message_bytes_max, log_bytes, outbox_bytes_max; what waits beyond FS_FLUSH_DUE_BYTES
 *            is for the publisher to flush.
 */
#ifndef FS_PUBLISH_H
#define FS_PUBLISH_H

#include "engine/fs_state.h"

enum { FS_FLUSH_DUE_BYTES = 1 << 16 };

/* Appends a message: see fs_reactor_publish. framed is what the codec measured. Under lock. */
int fs_publish_append(fs_reactor *reactor, fs_channel *channel, fs_slice message, size_t framed,
                      fs_conn *exclude, uint64_t *seq);

/* Queues a message for one connection, which the caller then sends or wakes a turn for: see
 * fs_reactor_send. 1: it answers the only message of the last turn, and nothing else is asked for;
 * else 0. */
int fs_publish_direct(fs_reactor *reactor, uint64_t handle, const uint8_t *data, size_t len);

/* Queues an empty message. Under lock. FS_EGONE, FS_EOUTBOX, -ENOMEM: nothing changed. */
int fs_publish_heartbeat(fs_reactor *reactor, fs_conn *conn);

#endif
