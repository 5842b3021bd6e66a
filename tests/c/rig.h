/* rig.h: a reactor under test, what it has reported, and clients on real sockets.
 *
 * Purpose:   tests in few lines; each wait for a condition has a bound.
 * Ownership: a rig owns its reactor and copies of the events; a client its socket and its bytes.
 * Threading: a rig is driven by one thread; the any-thread functions of its reactor stay so.
 * Limits:    a condition that is not met after RIG_WAIT_NS ends the test.
 */
#ifndef RIG_H
#define RIG_H

#include "check.h"
#include "engine/fs_reactor.h"
#include "engine/fs_state.h"

#define RIG_MS_NS 1000000LL
#define RIG_WAIT_NS (10000 * RIG_MS_NS)
#define RIG_STEP_NS (5 * RIG_MS_NS)

typedef struct rig_event {
  fs_event_kind kind;
  fs_reason reason;
  uint64_t handle, number;
  uint8_t *data; /* of a message */
  size_t len;
} rig_event;

struct rig {
  fs_reactor *reactor;
  fs_addr address; /* where it can be called */
  rig_event *events;
  size_t event_count, event_cap;
  bool narrow; /* kernel buffers of clients are small: a client that does not read blocks soon */
};

struct client {
  int fd;
  uint64_t handle;
  uint8_t *got;
  size_t got_len, got_cap;
  bool ended; /* by an end of stream or an error */
  int error;  /* of the last recv, 0 at an end of stream */
};

/* Line framing, no relay, small limits, a slow_grace and linger that no test reaches by chance. */
fs_config rig_config(void);

/* A listening, non-blocking socket on loopback: AF_INET, AF_INET6, or AF_UNIX without a file; addr
 * receives where. */
int rig_listen(int family, fs_addr *addr);

/* Listens on loopback: AF_INET, AF_INET6, or AF_UNIX without a file. */
void rig_open(struct rig *rig, const fs_config *config, int family);

/* Closes the reactor in an orderly way and frees everything. */
void rig_close(struct rig *rig);

/* One turn, its events copied to rig->events. Its result. */
int rig_turn(struct rig *rig, int64_t timeout_ns);

/* Turns until cond holds. */
#define RIG_UNTIL(rig, cond)                                                      \
  for (uint64_t begun_ns_ = fs_sys_now_ns(); !(cond); rig_turn(rig, RIG_STEP_NS)) \
  rig_in_time(begun_ns_, __FILE__, __LINE__, #cond)

/* Waits until cond holds, which another thread sees to. */
#define RIG_AWAIT(cond)                                            \
  for (uint64_t begun_ns_ = fs_sys_now_ns(); !(cond); usleep(500)) \
  rig_in_time(begun_ns_, __FILE__, __LINE__, #cond)

void rig_in_time(uint64_t begun_ns, const char *file, int line, const char *what);

/* How many events of a kind there were; the last of them. */
size_t rig_count(const struct rig *rig, fs_event_kind kind);
const rig_event *rig_last(const struct rig *rig, fs_event_kind kind);

/* The reason of the end that was reported for a handle, or -1. */
int rig_reason(const struct rig *rig, uint64_t handle);

/* Connects; the reactor has not seen it yet. */
void rig_call(struct rig *rig, struct client *client);

/* Connects, and turns until the connection is reported. */
void rig_join(struct rig *rig, struct client *client);

/* Publishes a text, or sends it to one client. */
void rig_publish(struct rig *rig, const char *text, uint64_t exclude);
void rig_send(struct rig *rig, const struct client *client, const char *text);

/* Waits for room for a message of len bytes: see fs_reactor_prepare_room. */
int rig_make_room(fs_reactor *reactor, uint32_t channel, size_t len, uint64_t handle,
                  int64_t timeout_ns);

/* Turns until the client has these bytes, and no others; forgets them. */
void rig_receives(struct rig *rig, struct client *client, const char *bytes);

/* Turns until the client reports the end of its stream, after exactly these bytes. */
void rig_ends(struct rig *rig, struct client *client, const char *bytes);

/* Publishes messages of len bytes, each with a turn, until the log is full, since this client is
 * blocked. How many. */
size_t rig_fill(struct rig *rig, const struct client *client, size_t len);

/* Takes what has arrived. */
void client_pull(struct client *client);

/* Sends all of it; the peer must take it. */
void client_say(const struct client *client, const char *text);
void client_write(const struct client *client, const void *data, size_t len);

/* What the kernel takes without waiting; how many bytes. */
size_t client_pour(const struct client *client, const void *data, size_t len);

void client_close(struct client *client);
void client_reset(struct client *client);

/* The record of a client's connection. */
fs_conn *client_conn(const struct rig *rig, const struct client *client);

#endif
