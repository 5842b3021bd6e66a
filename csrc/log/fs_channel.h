/* fs_channel.h: a log with its readers.
 *
 * Purpose:   what is published to it reaches the connections that subscribe. Every open
 *            connection subscribes to the main channel, number 0.
 * Ownership: the reactor owns its channels, which live as long as it does; a connection owns its
 *            subscriptions.
 * Threading: subs changes under turn and lock, joining under the lock; see each field.
 * Limits:    FS_CHANNELS_MAX channels; each its own log and slow policy.
 */
#ifndef FS_CHANNEL_H
#define FS_CHANNEL_H

#include "base/fs_list.h"
#include "log/fs_outbox.h"

enum { FS_CHANNELS_MAX = 256 };

/* What happens to a connection that does not take what it is sent, once the log is full. */
typedef enum fs_policy {
  FS_POLICY_DISCONNECT,  /* it has slow_grace to accept a byte, then it is closed */
  FS_POLICY_DROP_OLDEST, /* it loses the oldest messages, and the loss is counted */
  FS_POLICY_BLOCK,       /* the publisher waits */
} fs_policy;

typedef struct fs_channel {
  fs_log log;
  uint32_t number;
  fs_policy policy;
  uint64_t slow_grace_ns;
  fs_list subs;             /* turn to walk, turn and lock to change */
  fs_list joining;          /* lock: subscriptions that the reactor has not seen yet */
  bool tail_stale;          /* turn: a cursor that held the tail has moved */
  uint64_t try_at_ns;       /* turn: blocked connections are not tried again before */
  _Atomic uint64_t flushed; /* the log's head at the last flush */
} fs_channel;

struct fs_conn;

/* One connection's reading of one channel. */
typedef struct fs_sub {
  fs_outbox box;
  fs_channel *channel;
  struct fs_conn *conn;
  fs_list channel_link; /* in subs or joining */
  struct fs_sub *next;  /* of the same connection; turn and lock */
  uint64_t gap_count;   /* messages lost and not yet reported; turn */
} fs_sub;

/* A channel with a log of log_bytes, without readers. -EINVAL, -ENOMEM or -errno. */
int fs_channel_new(fs_channel **result, size_t log_bytes, fs_policy policy, uint64_t slow_grace_ns);

/* It has no readers any more. */
void fs_channel_free(fs_channel *channel);

/* Begins at the channel's head; the caller puts it into subs or joining. Under lock. */
void fs_sub_init(fs_sub *sub, struct fs_conn *conn, fs_channel *channel, uint32_t bytes_max);

/* Moves the tail to the cursor of the last reader. Under turn and lock. */
void fs_channel_move_tail(fs_channel *channel);

#endif
