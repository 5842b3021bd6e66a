/* fs_reactor.h: the engine that serves the callers of listening sockets.
 *
 * Purpose:   accepts, reads, decodes, routes, flushes and closes; one turn at a time.
 * Ownership: the reactor owns its log, connections, descriptors and buffers. Events and the bytes
 *            that they point to are borrowed until the next turn.
 * Threading: whoever holds the turn lock is the reactor; there is one at a time. The functions
 *            under "Any thread" take the short lock instead and may be called at any time.
 * Limits:    those of fs_config; beside them, per turn, FS_EVENTS_MAX events, FS_ARENA_BYTES read,
 *            FS_READ_BYTES (or FS_RELAY_BYTES) read, config.turn_messages_max messages reported
 * (fewer if they take longer than config.turn_ns) and config.flush_bytes sent per connection, so
 * that no peer can keep the others waiting.
 *
 * Two locks, always taken in this order: turn (long: held while waiting and while sending), then
 * lock (short: never held over a system call that can take long). Everything in this struct says
 * which one guards it.
 */
#ifndef FS_REACTOR_H
#define FS_REACTOR_H

#include <errno.h>
#include <pthread.h>

#include "engine/fs_conn.h"
#include "engine/fs_listener.h"
#include "io/fs_poll.h"

enum {
  FS_EVENTS_MAX = 4096,
  FS_ARENA_BYTES = 1 << 20,
  FS_READ_BYTES = 1 << 16,
  FS_RELAY_BYTES = 3 << 16,     /* read at once where messages become no events; one send of 256 KiB
                                   takes it with what was left of the message before */
  FS_FLUSH_DUE_BYTES = 1 << 16, /* a publisher flushes when this much waits */
  FS_FLUSH_NS = 2000000,        /* a flush goes on so long, then it is for others */
  FS_FLUSH_VISITS = 8,          /* connections flushed between two looks at the clock */
  FS_DRIVE_NS = 50000000,       /* turns without events in a row, then signal handlers may run */
  FS_EMBEDDED_NS = 10000000,    /* who waits leaves the turn so long to an event loop with work */
  FS_ACCEPT_MAX = 256,          /* callers accepted in one turn */
  FS_IOV_MAX = 64,
  FS_ACCEPT_PAUSE_NS = 100000000, /* when memory, or even the reserve, has run out */
};

/* For fs_reactor_prepare_room: no log, only an outbox. */
#define FS_NO_LOG UINT32_MAX

typedef enum fs_relay { FS_RELAY_NONE, FS_RELAY_OTHERS, FS_RELAY_ALL } fs_relay;

typedef struct fs_config {
  const fs_codec *codec;
  fs_relay relay;
  fs_slice relay_except; /* what begins with these bytes is not relayed; the caller keeps them */
  fs_notice gap_notice;  /* without a codec: none; the caller keeps its bytes */
  fs_policy policy;      /* of the main channel, and of outboxes */
  size_t log_bytes, message_bytes_max, outbox_bytes_max;
  bool final_line;    /* line framing: the end of the stream ends the last line, too */
  size_t flush_bytes; /* of one stream of one connection, before it is the next one's turn */
  uint64_t slow_grace_ns, linger_ns;
  uint64_t idle_timeout_ns, heartbeat_ns; /* 0: none */
  uint64_t busy_poll_ns;                  /* how long to spin before sleeping */
  size_t first_bytes_max;     /* the longest message until fs_reactor_trust; 0: message_bytes_max */
  uint32_t turn_messages_max; /* events of one connection in a turn; 0: FS_EVENTS_MAX */
  uint64_t turn_ns;           /* with turn_messages_max: about how long the events of a turn may
                                 take the driver, if some connection has more of them */
  uint32_t connections_max;
} fs_config;

typedef enum fs_event_kind { FS_CONNECTED, FS_MESSAGE, FS_GAP, FS_DISCONNECTED } fs_event_kind;

typedef struct fs_event {
  fs_event_kind kind;
  fs_reason reason; /* of FS_DISCONNECTED */
  uint64_t handle, number;
  fs_slice message; /* of FS_MESSAGE */
  uint32_t channel; /* of FS_GAP */
  uint64_t lost;    /* of FS_GAP: messages */
} fs_event;

typedef struct fs_counters {
  fs_counter accepted, accept_errors, refused, messages_received, bytes_received, bytes_sent, sends;
  fs_counter deliveries; /* messages handed to kernels by subscriptions that ended */
  fs_counter dropped;
  fs_counter unheard;    /* bytes that became no message: said after a close, or left at the end */
  fs_counter unfinished; /* messages that were begun when their peer's stream ended */
  fs_counter wakeups, turns, ended[FS_REASON_COUNT];
} fs_counters;

/* What somebody waits for; see fs_reactor_met. */
typedef enum fs_wait_kind {
  FS_WAIT_ROOM,
  FS_WAIT_DRAIN,
  FS_WAIT_COUNT,
  FS_WAIT_CLOSED,
  FS_WAIT_FLUSH,
  FS_WAIT_KINDS
} fs_wait_kind;

typedef struct fs_waiter {
  fs_list link;
  fs_wait_kind kind;
  atomic_uint told; /* 1: look again; the waiter sleeps on it, see fs_borrow.h */
  size_t bytes;     /* ROOM: for so many in the log of channel */
  uint32_t channel;
  uintptr_t sender; /* ROOM: the thread that waits */
  uint64_t handle;  /* ROOM: and in the outbox of this connection, unless 0 */
  uint32_t count;   /* COUNT: so many open connections */
  uint64_t serial;  /* DRAIN: all edits up to this one, and all logs up to their heads */
  uint32_t channel_count;
  uint64_t heads[FS_CHANNELS_MAX];
} fs_waiter;

typedef struct fs_reactor {
  fs_config config;
  pthread_mutex_t turn, lock;
  fs_conns conns; /* turn to walk, turn and lock to change, lock to look up */
  fs_poll poll;   /* turn */
  int wake_fd, timer_fd;
  fs_channel *channels[FS_CHANNELS_MAX]; /* lock to add; the first is the main one */
  _Atomic uint32_t channel_count;

  /* Under lock. */
  fs_list dirty;
  fs_list waiters;
  uint64_t serial;
  uint32_t open_count;
  bool listening; /* written under both */

  /* Written under lock. A turn looks at them without, and takes the lock where they say so. */
  atomic_bool asked;        /* dirty is not empty, unless those in it have died */
  atomic_uint waiter_count; /* in waiters */
  atomic_uint waiter_counts[FS_WAIT_KINDS];
  atomic_bool room_wanted;      /* somebody waits for room since fs_expire last looked */
  atomic_bool closing, hearing; /* hearing: a driver reads on until the connections have ended */
  _Atomic uint64_t linger_ns;   /* any thread may store it */

  /* Under turn. */
  fs_list ready, stalled, served, pending, untold, dead, reported;
  fs_list holding; /* who held others up when fs_expire last looked, which was then: */
  uint64_t looked_ns;
  fs_wheel wheel;
  fs_listeners listeners;
  bool flush_over; /* the present flush has had its time; the rest is in pending */
  uint32_t flush_visits;
  uint64_t flush_until_ns;
  uint32_t blocked_count;
  uint64_t now_ns;       /* the time at the beginning of the turn */
  uint64_t accept_at_ns; /* no accept before: it has failed */
  uint64_t deadline_ns;  /* when fs_expire is due; UINT64_MAX: never */
  uint8_t *arena;
  size_t arena_used;
  fs_inbox *retired;
  fs_event *events;
  uint32_t event_count;
  uint64_t refused_count; /* what the driver has seen of counters.refused */
  uint32_t turn_messages; /* of the connection that is being read, in this turn */
  uint32_t turn_share;    /* so many each may have: as many as take config.turn_ns for all */
  uint32_t cut_short;     /* connections that had more in the last turn */
  uint32_t cut_events;    /* of that turn, if there were such connections */
  uint64_t cut_ns;        /* when it had read them */

  /* Asked for by any thread, looked after as fs_borrow.h says. */
  atomic_uint turn_wanted;  /* drivers that wait for a borrowed turn to end */
  atomic_bool flush_wanted; /* somebody asked for a flush while a turn was under way */
  atomic_uint leaving;      /* turns that flush once more and then look at nothing */
  atomic_bool asleep;       /* who asks for something has to write to wake_fd */
  atomic_bool lone;         /* the last turn had one event, a message not answered yet */
  atomic_bool report;       /* make events of messages, too */
  atomic_bool embedded;     /* fileno() is watched by somebody: asleep between turns, too */
  fs_counters counters;
} fs_reactor;

/* A reactor that takes over listening, non-blocking sockets, at most FS_LISTENERS_MAX. -errno or
 * -EINVAL: nothing is held, and they stay the caller's. */
int fs_reactor_new(fs_reactor **result, const fs_config *config, const int *listen_fds,
                   uint32_t listen_count);

/* After it is closed and no thread uses it any more. */
void fs_reactor_free(fs_reactor *reactor);

/* In a forked child: gives up the descriptors, which are the parent's business. The child must use
 * nothing of the reactor afterwards, since locks and log are shared with or torn from the parent.
 */
void fs_reactor_abandon(fs_reactor *reactor);

/* ---- The driver: one thread at a time ---- */

/* One turn: waits up to timeout_ns (-1: without an end) unless there is work, then accepts, reads,
 * decodes, routes, flushes and reports. Returns how many events are in reactor->events, or
 * -EINTR. The turn lock stays held when events are returned: fs_reactor_consumed releases it. */
int fs_reactor_turn(fs_reactor *reactor, int64_t timeout_ns);

/* Turns until there are events, the time is over, the reactor has ended, callers were refused, or
 * FS_DRIVE_NS have been worked without an event. Returns as fs_reactor_turn does. */
int fs_reactor_drive(fs_reactor *reactor, int64_t timeout_ns);

/* The events are copied: their bytes may go, and slots of connections that ended are free. Sends
 * nothing. Whether somebody asked for a flush: then call fs_reactor_catch_up. */
bool fs_reactor_consumed(fs_reactor *reactor);

/* Flushes once, for FS_FLUSH_NS at most, if a flush is wanted and nobody else has the turn. Those
 * that ask for a flush meanwhile see to it themselves: so they cannot keep the caller from what it
 * is about to do. */
void fs_reactor_catch_up(fs_reactor *reactor);

/* ---- Any thread ---- */

/* Adds a channel; its number, or -errno, -EINVAL, FS_EFULL: there are FS_CHANNELS_MAX. */
int fs_reactor_add_channel(fs_reactor *reactor, size_t log_bytes, fs_policy policy,
                           uint64_t slow_grace_ns);

/* From now on the connection gets what is published to the channel; until now. Doing it twice does
 * nothing. FS_EGONE, -ENOMEM, FS_EOUTBOX (no room to note where the stream goes on). */
int fs_reactor_subscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle);
int fs_reactor_unsubscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle);

/* Appends one message for all who read the channel but the connection exclude (0: for all); *seq
 * is its number. Returns 1 when enough waits that somebody should flush, else 0. FS_EFULL,
 * FS_EOUTBOX: no room now, wait for ROOM. FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN, FS_ECLOSED,
 * -ENOMEM. */
int fs_reactor_publish(fs_reactor *reactor, uint32_t channel, const uint8_t *data, size_t len,
                       uint64_t exclude, uint64_t *seq);

/* Appends messages for all under one lock, as many as there is room for; how many, and *seq is the
 * number of the last. FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN (*seq is then the index of the first
 * such message): none was appended. FS_ECLOSED. */
int fs_reactor_publish_many(fs_reactor *reactor, uint32_t channel, const fs_slice *messages,
                            size_t count, uint64_t *seq);

/* Whether so much waits that somebody should flush. */
bool fs_reactor_flush_due(const fs_reactor *reactor, uint32_t channel);

/* Queues one message for one connection behind all that was published. The first one after a turn
 * that brought one message, mostly the answer to it, goes to the kernel at once; the answers of a
 * turn with more events share their system calls. Returns 1 if fs_reactor_catch_up is to be called,
 * else 0. FS_EGONE, FS_EOUTBOX (no room now), FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN, -ENOMEM. */
int fs_reactor_send(fs_reactor *reactor, uint64_t handle, const uint8_t *data, size_t len);

/* From now on the connection may send messages of message_bytes_max. FS_EGONE. */
int fs_reactor_trust(fs_reactor *reactor, uint64_t handle);

/* Closes one connection in an orderly way. FS_EGONE when it has ended already. */
int fs_reactor_close_conn(fs_reactor *reactor, uint64_t handle, fs_reason reason);

/* Stops listening and closes every connection in an orderly way; turns finish it. Idempotent.
 * hearing: somebody drives, and what clients say until they end or have lingered is an event, also
 * of those that wait in the backlog (FS_ACCEPT_MAX of them). Else it is only counted. */
void fs_reactor_close(fs_reactor *reactor, bool hearing);

/* Connections that begin to close from now on have so long, in place of config.linger_ns. */
void fs_reactor_set_linger(fs_reactor *reactor, uint64_t linger_ns);

/* Begins a waiter, whose fields of its kind the caller sets; DRAIN captures what is queued now.
 * fs_borrow_until waits for it. */
void fs_reactor_prepare(fs_reactor *reactor, fs_waiter *waiter, fs_wait_kind kind);

/* Begins a ROOM waiter: for a message of len bytes in the channel's log (FS_NO_LOG: in none), and
 * in the outbox of the connection handle unless that is 0. It is also met if there is nothing to
 * wait for any more. */
void fs_reactor_prepare_room(fs_reactor *reactor, fs_waiter *waiter, uint32_t channel, size_t len,
                             uint64_t handle);

/* Whether what the waiter waits for is so. Takes the lock. */
bool fs_reactor_met(fs_reactor *reactor, const fs_waiter *waiter);

/* Whether it is closed and all its connections have ended and were reported. */
bool fs_reactor_ended(fs_reactor *reactor);

/* One connection, at one moment. */
typedef struct fs_conn_stats {
  uint64_t number, age_ns, idle_ns, bytes_sent, bytes_received, messages_sent, messages_received;
  uint64_t lag_bytes, lag_messages, outbox_bytes, dropped;
} fs_conn_stats;

/* FS_EGONE when the connection has ended and was reported. */
int fs_reactor_conn_stats(fs_reactor *reactor, uint64_t handle, fs_conn_stats *stats);

/* The reader that is behind most in a channel's log, and what the log is. */
typedef struct fs_slowest {
  uint64_t handle, number, lag_bytes;
  size_t log_bytes;
  fs_policy policy;
} fs_slowest;

/* FS_EGONE when nobody reads the channel. */
int fs_reactor_slowest(fs_reactor *reactor, uint32_t channel, fs_slowest *slowest);

/* Fills in as many open connections as fit; how many there are. */
uint32_t fs_reactor_open_handles(fs_reactor *reactor, uint64_t *handles, uint64_t *numbers,
                                 uint32_t max);

/* Why a connection has ended or is ending, an fs_reason. FS_EGONE as above; -EAGAIN: it has not. */
int fs_reactor_reason(fs_reactor *reactor, uint64_t handle);

/* The address of a connection's peer. FS_EGONE as above. */
int fs_reactor_peer(fs_reactor *reactor, uint64_t handle, fs_addr *peer);

/* The address of our own side of a connection. FS_EGONE when it has ended; -errno. */
int fs_reactor_local(fs_reactor *reactor, uint64_t handle, fs_addr *local);

/* Over all channels and connections; queued_bytes wait in logs and outboxes. */
typedef struct fs_totals {
  uint64_t deliveries, messages_published, bytes_published, queued_bytes;
} fs_totals;

void fs_reactor_totals(fs_reactor *reactor, fs_totals *totals);

/* From now on another event loop watches the poll descriptor; which one, -1 when closed. */
int fs_reactor_embed(fs_reactor *reactor);

/* Wakes whoever sleeps in a turn. */
void fs_reactor_wake(fs_reactor *reactor);

/* ---- Parts of the turn, shared by its files ---- */

/* Polls for at most timeout_ns and notes who is ready. -EINTR on a signal. */
int fs_reactor_poll(fs_reactor *reactor, int64_t timeout_ns);

/* When time itself asks for a turn; UINT64_MAX: never. */
uint64_t fs_reactor_due_ns(const fs_reactor *reactor);

/* Whether any thread has asked for something that a turn of any kind looks after. */
bool fs_reactor_asked(const fs_reactor *reactor);

/* Whether the next turn is to be a driver's: one waits for it; or another event loop sleeps for the
 * driver, and there is something to read, to report or to accept, of which the loop may not hear if
 * somebody else polls. */
bool fs_reactor_is_drivers(const fs_reactor *reactor);

/* Whether somebody waits in the backlog who can be accepted now. */
bool fs_reactor_can_accept(const fs_reactor *reactor);

/* The reactor is closed, but has not begun to close its connections. */
static inline bool fs_reactor_must_close(const fs_reactor *reactor) {
  return atomic_load(&reactor->closing) && reactor->listening;
}

/* Stops listening and begins to close all connections, if it must. */
void fs_reactor_begin_closing(fs_reactor *reactor);

/* Frees what was kept for events that are consumed. */
void fs_reactor_tidy(fs_reactor *reactor);

static inline void fs_reactor_enlist(fs_list *list, fs_list *link) {
  if (fs_list_empty(link)) fs_list_push(list, link);
}

/* The reactor is to look after this connection, as soon as it can. Under lock. */
static inline void fs_reactor_ask(fs_reactor *reactor, fs_conn *conn) {
  fs_reactor_enlist(&reactor->dirty, &conn->dirty_link);
  atomic_store(&reactor->asked, true);
}

/* An event, for which there must be room. */
fs_event *fs_reactor_report(fs_reactor *reactor, fs_event_kind kind, const fs_conn *conn);

/* Accepts callers, at most FS_ACCEPT_MAX; they are in untold then. */
void fs_receive_accept(fs_reactor *reactor);
void fs_receive_read(fs_reactor *reactor);

/* After a turn that has cut some connections short: how many messages each may have in the next
 * one, by the time that those took. */
void fs_receive_share(fs_reactor *reactor);

/* Reads what nobody is to hear, since all connections are being closed. */
void fs_receive_discard(fs_reactor *reactor);

/* Takes what any thread has asked for, and hands the kernels what they take: first to those with
 * messages of their own, then to the others, for FS_FLUSH_NS at most each, and not while a driver
 * waits. Who had no turn is in pending, before those that have more. Under turn, not under lock; so
 * are all that follow. */
void fs_flush_all(fs_reactor *reactor);

/* As fs_flush_all, but leaves what was published to all for later. */
void fs_flush_asked(fs_reactor *reactor);
void fs_flush_one(fs_reactor *reactor, fs_conn *conn);

/* Frees the logs up to their last readers, where one has moved; whether there was one. */
bool fs_flush_move_tails(fs_reactor *reactor);

/* Does what is due: ends lingering and idle connections, sends heartbeats, and applies the slow
 * policies where somebody waits for room. Sets deadline_ns to when it must be called again. */
void fs_expire(fs_reactor *reactor);

/* Sets the timer of idle_timeout and heartbeat, if there is one. */
void fs_expire_watch_idle(fs_reactor *reactor, fs_conn *conn);

/* What an error of a send or recv says about the peer. EPIPE: its end of stream came first. */
static inline fs_reason fs_reason_of_error(int error) {
  return error == 0 || error == -EPIPE ? FS_REASON_PEER : FS_REASON_RESET;
}

/* Begins an orderly close of an open connection: flush, shut our side, read to the end. */
void fs_close_begin(fs_reactor *reactor, fs_conn *conn, fs_reason reason);

/* All that a closing connection had is with the kernel. */
void fs_close_flushed(fs_reactor *reactor, fs_conn *conn);

/* It cannot send any more; what its peer had sent before that may still be read. */
void fs_close_broken(fs_reactor *reactor, fs_conn *conn, int error);

/* Ends a connection at once. The reason of a close that has begun stays. */
void fs_close_kill(fs_reactor *reactor, fs_conn *conn, fs_reason reason);

/* Appends a message under lock: see fs_reactor_publish. framed is what the codec measured. */
int fs_publish_append(fs_reactor *reactor, fs_channel *channel, fs_slice message, size_t framed,
                      fs_conn *exclude, uint64_t *seq);

/* Queues an empty message. Under lock. FS_EGONE, FS_EOUTBOX, -ENOMEM: nothing changed. */
int fs_publish_heartbeat(fs_reactor *reactor, fs_conn *conn);

/* The connection's subscription to a channel, or NULL. Under lock. */
fs_sub *fs_subscribe_find(fs_channel *channel, fs_conn *conn);

/* All streams of the connection end at the heads of now, if not before. Under lock. */
void fs_subscribe_end_all(fs_reactor *reactor, fs_conn *conn);

/* Takes over the connection's subscriptions that the reactor has not seen yet. Under both. */
void fs_subscribe_join(fs_reactor *reactor, fs_conn *conn);

/* Frees a subscription whose stream has ended. Under turn, not under lock. */
void fs_subscribe_reap(fs_reactor *reactor, fs_conn *conn, fs_sub *sub);

/* Whether a waiter's ROOM is there in the log, and in the outbox too. Under lock. */
bool fs_wait_log_met(fs_reactor *reactor, const fs_waiter *waiter);
bool fs_wait_room_met(fs_reactor *reactor, const fs_waiter *waiter);

/* Ends a turn of any kind: gives it back, tells waiters, and prepares for another event loop that
 * waits for us. Whether somebody has asked for a flush since the last one began. */
bool fs_reactor_end_turn(fs_reactor *reactor);

/* Begins or ends a wait: puts the waiter on the list, and takes it off. */
void fs_wait_enter(fs_reactor *reactor, fs_waiter *waiter);
void fs_wait_leave(fs_reactor *reactor, fs_waiter *waiter);

/* Tells those who wait for something that is so now; and one of the others, if the turn is free for
 * it to take. */
void fs_wait_tell(fs_reactor *reactor, bool turn_free);

/* Whether some waiter is of that kind. */
static inline bool fs_wait_any(const fs_reactor *reactor, fs_wait_kind kind) {
  return atomic_load(&reactor->waiter_counts[kind]) > 0;
}

#endif
