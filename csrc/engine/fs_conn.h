/* fs_conn.h: the connections and the table that finds them.
 *
 * Purpose:   one record per connection; handles that go stale instead of naming a successor.
 * Ownership: the table owns the records; a record owns its descriptor, inbox and outbox.
 * Threading: open, release and state changes by the reactor under its lock, so that any thread may
 *            look a handle up under the lock. Counters are written by the reactor alone.
 * Limits:    at most max connections; a slot's generation is 32 bits.
 *
 * Life: OPEN -> CLOSING (flushes what it has) -> SHUT (our side is shut, reads to the end) -> DEAD
 * (descriptor closed, not yet reported) -> released. BROKEN can no longer send but still has bytes
 * to read. Any state may go to DEAD at once.
 */
#ifndef FS_CONN_H
#define FS_CONN_H

#include "engine/fs_inbox.h"
#include "engine/fs_pace.h"
#include "engine/fs_types.h"
#include "io/fs_sys.h"
#include "io/fs_timer.h"

typedef enum fs_state {
  FS_OPEN,
  FS_CLOSING,
  FS_SHUT,
  FS_BROKEN,
  FS_DEAD,
} fs_state;

typedef struct fs_conn {
  uint64_t handle; /* generation << 32 | slot */
  uint64_t number; /* 1, 2, 3 ... never used again */
  int fd;
  uint32_t joining_count; /* subscriptions that the reactor has not seen yet: under the lock */
  uint8_t state;          /* fs_state; small, since there are many of these records */
  uint8_t reason;         /* fs_reason */
  bool blocked;           /* the last send would have blocked; waits for FS_POLL_OUT */
  bool hung_up;           /* end of stream or an error is waiting behind what can be read */
  bool urgent;            /* the peer has sent urgent data: reads may stop at it */
  bool peer_eof;          /* the end of the peer's stream was read */
  bool stalled;      /* the inbox may hold whole frames, which wait for room or the next turn */
  bool announced;    /* that it has come is reported */
  bool heard;        /* what it sends while the server closes is still reported */
  bool close_wanted; /* by close_reason, from any thread: under the lock */
  uint8_t close_reason;
  fs_list link;         /* all that are not dead; then the dead, then the reported */
  fs_list ready_link;   /* those that may have something to read */
  fs_list dirty_link;   /* those with something of their own to send, or to close: under the lock */
  fs_list pending_link; /* those that can be flushed further */
  fs_list untold_link;  /* those that have come, or have lost messages: not yet reported */
  fs_list hold_link;    /* those that held others up when fs_slow last ran */
  fs_timer timer;       /* idle_timeout and heartbeat while it is open, then linger */
  uint64_t blocked_ns;  /* since when its kernel has taken no byte; 0: it takes all */
  fs_pace pace;
  _Atomic uintptr_t sender; /* the thread that sent it a message of its own last; 0: none */
  fs_sub main;              /* the first of its subscriptions */
  fs_sub *current;          /* the one that is being sent; left at the end of a message only */
  fs_inbox *inbox;
  uint64_t opened_ns;
  _Atomic size_t received_bytes_max; /* the longest message it may send; 0: as all others */
  uint64_t settled_count; /* messages that went to the kernel by subscriptions that ended */
  fs_counter bytes_sent, bytes_received, messages_received, dropped, last_sent_ns, last_received_ns;
  fs_addr peer; /* the last, since the record ends where the address does: most are short */
} fs_conn;

/* Bytes that the peer has taken from our kernel so far. What our kernel takes says less: at first
 * it has room. */
static inline uint64_t fs_conn_taken(fs_conn *conn) {
  uint64_t sent = atomic_load_explicit(&conn->bytes_sent, memory_order_relaxed);
  return sent - fs_min(sent, (uint64_t)fs_sys_queued(conn->fd));
}

/* Whether more can be queued for it: it is open, and no thread has asked to close it. Under the
 * lock. */
static inline bool fs_conn_takes(const fs_conn *conn) {
  return conn->state == FS_OPEN && !conn->close_wanted;
}

typedef struct fs_conns {
  fs_conn **slots;
  uint32_t *generations;
  uint32_t *free_slots; /* a stack */
  uint32_t free_count, max;
  uint64_t last_number;
  uint32_t count; /* taken slots, dead ones included */
  fs_list all;
} fs_conns;

/* max >= 1. -ENOMEM: nothing is held. */
int fs_conns_init(fs_conns *conns, uint32_t max);

/* Every record is released already. Also right for one that init has failed for. */
void fs_conns_fini(fs_conns *conns);

/* A new record in state FS_OPEN with its number, or NULL: no slot is free, or no memory. */
fs_conn *fs_conns_open(fs_conns *conns, int fd, const fs_addr *peer);

/* The record of a handle, or NULL when its connection has been released. */
fs_conn *fs_conns_find(const fs_conns *conns, uint64_t handle);

/* Frees the record of a dead connection, its subscriptions and its slot. */
void fs_conns_release(fs_conns *conns, fs_conn *conn);

#endif
