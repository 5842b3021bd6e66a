/* fs_state.h: the data of a reactor, and the primitives that all its parts use.
 *
 * Purpose:   the struct, its descriptors, wake-ups, events, and questions about what there is to
 *            do. Nothing here decides what happens in a turn: that is fs_turn.h.
 * Ownership: the reactor owns its channels, connections, descriptors and buffers.
 * Threading: two locks, always taken in this order: turn (held while waiting and while sending),
 *            then lock (never held over a system call that can take long). The thread that holds
 *            turn is the reactor. Each field says which lock guards it.
 * Limits:    FS_EVENTS_MAX events and FS_ARENA_BYTES read in a turn.
 */
#ifndef FS_STATE_H
#define FS_STATE_H

#include <errno.h>
#include <pthread.h>

#include "engine/fs_conn.h"
#include "engine/fs_inbox.h"
#include "engine/fs_listener.h"
#include "engine/fs_types.h"
#include "io/fs_poll.h"
#include "io/fs_sys_linux.h"

enum {
  FS_EVENTS_MAX = 4096,
  FS_ARENA_BYTES = 1 << 20,
};

struct fs_reactor {
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

  /* Written under lock. A turn reads them without it, and takes it if they say so. */
  atomic_bool asked;        /* dirty is not empty, unless all in it have died */
  atomic_uint waiter_count; /* in waiters */
  atomic_uint waiter_counts[FS_WAIT_KINDS];
  atomic_bool room_wanted;      /* a thread has begun to wait for room since fs_slow last ran */
  atomic_bool closing, hearing; /* hearing: a driver reads on until the connections have ended */
  _Atomic uint64_t linger_ns;   /* any thread may store it */

  /* Under turn. */
  fs_list ready, stalled, served, pending, untold, dead, reported;
  fs_list holding; /* connections that held others up at looked_ns, when fs_slow last ran */
  uint64_t looked_ns;
  fs_wheel wheel;
  fs_listeners listeners;
  bool flush_over; /* the present flush has had its time; the rest is in pending */
  uint32_t flush_visits;
  uint64_t flush_until_ns;
  uint32_t blocked_count;
  uint64_t now_ns;       /* the time at the beginning of the turn */
  uint64_t accept_at_ns; /* no accept before: it has failed */
  uint64_t deadline_ns;  /* when fs_slow must run again; UINT64_MAX: never */
  uint8_t *arena;
  size_t arena_used;
  fs_inbox *retired;
  fs_event *events;
  uint32_t event_count;
  uint64_t refused_count; /* how much of counters.refused the driver has seen */
  uint32_t turn_messages; /* of the connection that is being read, in this turn */
  uint32_t turn_share;    /* so many each may have: as many as take config.turn_ns for all */
  uint32_t cut_short;     /* connections that had more in the last turn */
  uint32_t cut_events;    /* of that turn, if there were such connections */
  uint64_t cut_ns;        /* when it had read them */

  /* Any thread asks for these; fs_borrow.h says which turn does them. */
  atomic_uint turn_wanted;  /* drivers that wait for a borrowed turn to end */
  atomic_bool flush_wanted; /* a thread asked for a flush while another had the turn */
  atomic_uint leaving;      /* turns that flush once more and then check nothing */
  atomic_bool asleep;       /* a thread that asks for something has to write to wake_fd */
  atomic_bool lone;         /* the last turn had one event, a message not answered yet */
  atomic_bool report;       /* make events of messages, too */
  atomic_bool embedded;     /* another event loop watches fileno(): asleep between turns, too */
  fs_counters counters;
};

/* ---- Life ---- */

/* A zeroed reactor becomes one without buffers, channels and descriptors. */
void fs_state_init(fs_reactor *reactor, const fs_config *config);

/* Frees what init and the caller have put into it, and the reactor itself. */
void fs_state_free(fs_reactor *reactor);

/* Opens the descriptors and takes over the listening ones. -errno: those stay the caller's; close
 * the others. */
int fs_state_open(fs_reactor *reactor, const int *listen_fds, uint32_t listen_count);

/* Closes the descriptors. Idempotent. */
void fs_state_close(fs_reactor *reactor);

/* ---- Asking ---- */

static inline void fs_state_enlist(fs_list *list, fs_list *link) {
  if (fs_list_empty(link)) fs_list_push(list, link);
}

/* A turn of any kind is to look after this connection. Under lock. */
static inline void fs_state_ask(fs_reactor *reactor, fs_conn *conn) {
  fs_state_enlist(&reactor->dirty, &conn->dirty_link);
  atomic_store(&reactor->asked, true);
}

/* Wakes a sleeping turn: the slow half of fs_state_wake. */
void fs_state_rouse(fs_reactor *reactor);

/* Wakes the thread that sleeps in a turn, if there is one. */
static inline void fs_state_wake(fs_reactor *reactor) {
  if (atomic_load(&reactor->asleep)) fs_state_rouse(reactor);
}

/* ---- Looking: under turn ---- */

/* Polls for at most timeout_ns and notes what is ready. -EINTR on a signal. */
int fs_state_poll(fs_reactor *reactor, int64_t timeout_ns);

/* When time itself calls for a turn; UINT64_MAX: never. */
static inline uint64_t fs_state_due_ns(const fs_reactor *reactor) {
  return fs_min(reactor->deadline_ns, fs_wheel_next_ns(&reactor->wheel));
}

/* Whether any thread has asked for something that a turn of any kind does. */
bool fs_state_asked(const fs_reactor *reactor);

/* Whether there is something to read, to report or to accept, which is a driver's work. */
bool fs_state_has_news(const fs_reactor *reactor);

/* Whether a caller waits in a backlog and can be accepted now. */
static inline bool fs_state_can_accept(const fs_reactor *reactor) {
  return reactor->listeners.ready_count && reactor->conns.free_count &&
         reactor->now_ns >= reactor->accept_at_ns;
}

/* Whether the reactor is closed, but has not begun to close its connections. */
static inline bool fs_state_must_close(const fs_reactor *reactor) {
  return atomic_load(&reactor->closing) && reactor->listening;
}

/* Adds an event. There must be room for it. */
fs_event *fs_state_report(fs_reactor *reactor, fs_event_kind kind, const fs_conn *conn);

#endif
