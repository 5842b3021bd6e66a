/* fs_log.h: the bounded log of framed messages that all connections read.
 *
 * Purpose:   one copy of every broadcast; a client is a cursor (an offset) into it.
 * Ownership: the log owns its memory; offsets are positions in an endless stream; they only grow.
 * Threading: reserve and commit under the reactor's lock, by any thread; trim only by the reactor.
 *            The bytes between tail and head never change, so they are read without a lock.
 * Limits:    cap bytes and cap / FS_LOG_BYTES_PER_INDEX messages wait at most; the log is full
 *            when either is reached.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <stdatomic.h>

#include "base/fs_base.h"

enum { FS_LOG_BYTES_PER_INDEX = 64 };

typedef struct fs_log {
  uint8_t *base;   /* cap bytes mapped twice in a row, so every range is contiguous */
  size_t cap;      /* a power of two, at least a page */
  uint64_t *index; /* where message seq begins, at seq & index_mask */
  uint64_t index_mask;
  _Atomic uint64_t head, tail;         /* byte offsets: the next to write, the oldest kept */
  _Atomic uint64_t head_seq, tail_seq; /* the next message's number, that of the one at tail */
} fs_log;

/* cap: a power of two of at least one page, else -EINVAL. On failure nothing is held. */
int fs_log_init(fs_log *log, size_t cap);
void fs_log_fini(fs_log *log);

/* Room for len contiguous bytes at the head, or NULL when the log is full. */
uint8_t *fs_log_reserve(fs_log *log, size_t len);

/* Publishes the len bytes written at the reserved place as one message; its sequence number. */
uint64_t fs_log_commit(fs_log *log, size_t len);

/* The bytes at offset, contiguous up to the head. tail <= offset <= head. */
static inline const uint8_t *fs_log_at(const fs_log *log, uint64_t offset) {
  return log->base + (offset & (log->cap - 1));
}

/* The number of the message that holds the byte at offset; head_seq at the head. */
uint64_t fs_log_seq_at(const fs_log *log, uint64_t offset);

/* The first offset from offset on where a message begins, or the head. tail <= offset <= head. */
uint64_t fs_log_boundary_at(const fs_log *log, uint64_t offset);

/* Where the newest half of what the log can hold begins, at a message. Under the lock. */
uint64_t fs_log_newest_half(const fs_log *log);

/* Frees everything before offset. Does nothing if offset is not after the tail. */
void fs_log_trim(fs_log *log, uint64_t offset);

#endif
