/* fs_types.h: what a program tells the engine, and what it hears from it.
 *
 * Purpose:   the configuration, events, counters, waiters and figures of a reactor.
 * Ownership: the bytes that a configuration points to stay the caller's and outlive the reactor.
 *            The bytes that an event points to are borrowed until the events are consumed.
 * Threading: one thread writes a counter, any thread may read it.
 * Limits:    none of its own.
 */
#ifndef FS_TYPES_H
#define FS_TYPES_H

#include <stdatomic.h>

#include "base/fs_list.h"
#include "io/fs_sys.h"
#include "log/fs_channel.h"
#include "wire/fs_codec.h"

/* For fs_reactor_prepare_room: no log, only an outbox. */
#define FS_NO_LOG UINT32_MAX

typedef struct fs_reactor fs_reactor;

/* ---- Configuration ---- */

typedef enum fs_relay { FS_RELAY_NONE, FS_RELAY_OTHERS, FS_RELAY_ALL } fs_relay;

typedef struct fs_config {
  const fs_codec *codec;
  fs_relay relay;
  fs_slice relay_except; /* a message that begins with these bytes is not relayed */
  fs_notice gap_notice;  /* without a codec: none */
  fs_policy policy;      /* of the main channel, and of outboxes */
  size_t log_bytes, message_bytes_max, outbox_bytes_max;
  bool final_line;    /* line framing: the end of the stream ends the last line, too */
  size_t flush_bytes; /* sent from one stream of one connection before the next one has its turn */
  uint64_t slow_grace_ns, linger_ns;
  uint64_t idle_timeout_ns, heartbeat_ns; /* 0: none */
  uint64_t busy_poll_ns;                  /* how long to spin before sleeping */
  size_t first_bytes_max;     /* the longest message until fs_reactor_trust; 0: message_bytes_max */
  uint32_t turn_messages_max; /* events of one connection in a turn; 0: FS_EVENTS_MAX */
  uint64_t turn_ns;           /* with turn_messages_max: about how long the events of a turn may
                                 take the driver, if some connection has more of them */
  uint32_t connections_max;
} fs_config;

/* ---- Events ---- */

typedef enum fs_event_kind { FS_CONNECTED, FS_MESSAGE, FS_GAP, FS_DISCONNECTED } fs_event_kind;

/* Why a connection ended. */
typedef enum fs_reason {
  FS_REASON_PEER,       /* the peer closed */
  FS_REASON_RESET,      /* the peer reset, or its host is gone */
  FS_REASON_LOCAL,      /* this program closed it */
  FS_REASON_SERVER,     /* the server closed */
  FS_REASON_SLOW,       /* slow consumer */
  FS_REASON_TOO_BIG,    /* a message above message_bytes_max */
  FS_REASON_HANDLER,    /* a handler raised */
  FS_REASON_MEMORY,     /* no memory for what it sent */
  FS_REASON_IDLE,       /* it sent nothing for idle_timeout */
  FS_REASON_UNFINISHED, /* the peer closed in the middle of a message */
  FS_REASON_FRAMING,    /* the peer uses another framing */
  FS_REASON_COUNT,
} fs_reason;

typedef struct fs_event {
  fs_event_kind kind;
  fs_reason reason; /* of FS_DISCONNECTED */
  uint64_t handle, number;
  fs_slice message; /* of FS_MESSAGE */
  uint32_t channel; /* of FS_GAP */
  uint64_t lost;    /* of FS_GAP: messages */
} fs_event;

/* ---- Publishing ---- */

/* One of many messages. */
typedef struct fs_outgoing {
  fs_slice message;
  size_t framed; /* by fs_reactor_measure */
} fs_outgoing;

/* ---- Waiting ---- */

/* What a thread waits for; see fs_reactor_met. */
typedef enum fs_wait_kind {
  FS_WAIT_ROOM,
  FS_WAIT_DRAIN,
  FS_WAIT_COUNT,
  FS_WAIT_CLOSED,
  FS_WAIT_FLUSH,
  FS_WAIT_KINDS
} fs_wait_kind;

/* Room for a message of bytes, with its header. */
typedef struct fs_wanted_room {
  size_t bytes;
  uint32_t channel; /* in its log, or FS_NO_LOG */
  uint64_t handle;  /* and in the outbox of this connection, unless 0 */
  uintptr_t sender; /* the thread that waits */
} fs_wanted_room;

/* All edits up to serial, and all logs up to their heads. */
typedef struct fs_wanted_drain {
  uint64_t serial;
  uint32_t channel_count;
  uint64_t heads[FS_CHANNELS_MAX];
} fs_wanted_drain;

typedef struct fs_waiter {
  fs_list link;
  fs_wait_kind kind;
  atomic_uint told; /* 1: check again; the waiting thread sleeps on it, see fs_borrow.h */
  union {
    fs_wanted_room room;
    fs_wanted_drain drain;
    uint32_t count; /* of FS_WAIT_COUNT: so many open connections */
  };
} fs_waiter;

/* ---- Figures ---- */

typedef _Atomic uint64_t fs_counter;

static inline void fs_count(fs_counter *counter, uint64_t n) {
  uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
  atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

typedef struct fs_counters {
  fs_counter accepted, accept_errors, refused, messages_received, bytes_received, bytes_sent, sends;
  fs_counter deliveries; /* messages handed to kernels by subscriptions that ended */
  fs_counter dropped;
  fs_counter unheard;    /* bytes that became no message: sent after a close, or left at the end */
  fs_counter unfinished; /* messages that had begun when their peer's stream ended */
  fs_counter wakeups, turns, ended[FS_REASON_COUNT];
} fs_counters;

/* One connection, at one moment. */
typedef struct fs_conn_stats {
  uint64_t number, age_ns, idle_ns, bytes_sent, bytes_received, messages_sent, messages_received;
  uint64_t lag_bytes, lag_messages, outbox_bytes, dropped;
} fs_conn_stats;

/* The reader that is furthest behind in a channel's log, and what the log is. */
typedef struct fs_slowest {
  uint64_t handle, number, lag_bytes;
  size_t log_bytes;
  fs_policy policy;
} fs_slowest;

/* Over all channels and connections; queued_bytes wait in logs and outboxes. */
typedef struct fs_totals {
  uint64_t deliveries, messages_published, bytes_published, queued_bytes;
} fs_totals;

#endif
