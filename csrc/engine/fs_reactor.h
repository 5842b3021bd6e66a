/* fs_reactor.h: the engine that serves the clients of listening sockets, as its users see it.
 *
 * Purpose:   every function of the engine that a program calls. What lies behind them is in the
 *            other files of this folder; start with fs_turn.h.
 * Ownership: the reactor owns its log, connections, descriptors and buffers. Events and the bytes
 *            that they point to are borrowed until fs_reactor_consumed.
 * Threading: one thread at a time drives. The functions under "Any thread" may be called at any
 *            time.
 * Limits:    those of fs_config.
 */
#ifndef FS_REACTOR_H
#define FS_REACTOR_H

#include "engine/fs_types.h"

/* Makes a reactor that takes over listening, non-blocking sockets, at most FS_LISTENERS_MAX.
 * -errno or -EINVAL: nothing is held, and they stay the caller's. */
int fs_reactor_new(fs_reactor **result, const fs_config *config, const int *listen_fds,
                   uint32_t listen_count);

/* Frees a reactor that is closed and that no thread uses any more. */
void fs_reactor_free(fs_reactor *reactor);

/* In a forked child: closes its copies of the descriptors. The child must use nothing of the
 * reactor afterwards, since its locks and log are shared with the parent or were copied in the
 * middle of a change. */
void fs_reactor_abandon(fs_reactor *reactor);

/* ---- The driver: one thread at a time ---- */

/* Runs one turn: waits up to timeout_ns (-1: without an end) unless there is work, then accepts,
 * reads, decodes, routes, flushes and reports. Returns how many events there are, or -EINTR. The
 * turn lock stays held when events are returned: fs_reactor_consumed releases it. */
int fs_reactor_turn(fs_reactor *reactor, int64_t timeout_ns);

/* Runs turns until there are events, the time is over, the reactor has ended, callers were refused,
 * or 50 ms of turns brought no event. Returns as fs_reactor_turn does. */
int fs_reactor_drive(fs_reactor *reactor, int64_t timeout_ns);

/* The events of the last turn. */
const fs_event *fs_reactor_events(const fs_reactor *reactor);

/* The events are copied: frees their bytes, and the slots of connections that ended. Sends nothing.
 * Returns whether a thread asked for a flush: then call fs_reactor_catch_up. */
bool fs_reactor_consumed(fs_reactor *reactor);

/* Flushes once, for 2 ms at most, if a flush is wanted and no other thread has the turn. A thread
 * that asks for a flush in the meantime runs it itself, so it cannot keep the caller from what it
 * is about to do. */
void fs_reactor_catch_up(fs_reactor *reactor);

/* ---- Any thread ---- */

/* Whether messages become events, too. At first they do not. */
void fs_reactor_set_reporting(fs_reactor *reactor, bool report);

/* Adds a channel and returns its number, or -errno, -EINVAL, FS_EFULL: there are
 * FS_CHANNELS_MAX. */
int fs_reactor_add_channel(fs_reactor *reactor, size_t log_bytes, fs_policy policy,
                           uint64_t slow_grace_ns);

/* Begins or ends the sending of what is published to the channel. Doing it twice does nothing.
 * FS_EGONE, -ENOMEM, FS_EOUTBOX (no room to note where the stream goes on). */
int fs_reactor_subscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle);
int fs_reactor_unsubscribe(fs_reactor *reactor, uint32_t channel, uint64_t handle);

/* Appends one message for all readers of the channel but the connection exclude (0: for all); *seq
 * is its number. Returns 1 if enough waits that the caller should flush, else 0. FS_EFULL,
 * FS_EOUTBOX: no room now, wait for ROOM. FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN, FS_EEMPTY,
 * FS_ECLOSED, -ENOMEM. */
int fs_reactor_publish(fs_reactor *reactor, uint32_t channel, const uint8_t *data, size_t len,
                       uint64_t exclude, uint64_t *seq);

/* Checks and measures messages for fs_reactor_publish_many. FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN,
 * FS_EEMPTY: *index is that of the first such message. */
int fs_reactor_measure(const fs_reactor *reactor, fs_outgoing *messages, size_t count,
                       size_t *index);

/* Appends measured messages for all under one lock, as many as there is room for. Returns how many,
 * and *seq is the number of the last, if there is one. FS_ECLOSED. */
int fs_reactor_publish_many(fs_reactor *reactor, uint32_t channel, const fs_outgoing *messages,
                            size_t count, uint64_t *seq);

/* Whether so much waits that the caller should flush. */
bool fs_reactor_flush_due(const fs_reactor *reactor, uint32_t channel);

/* Queues one message for one connection behind all that was published. The first one after a turn
 * that brought one message, which mostly answers it, goes to the kernel at once; the answers of a
 * turn with more events share their system calls. Returns 1 if fs_reactor_catch_up is to be called,
 * else 0. FS_EGONE, FS_EOUTBOX (no room now), FS_ETOOBIG, FS_ENEWLINE, FS_ERETURN, FS_EEMPTY,
 * -ENOMEM. */
int fs_reactor_send(fs_reactor *reactor, uint64_t handle, const uint8_t *data, size_t len);

/* Hands the kernel all that it takes now: in this thread, or, if another thread has the turn, in
 * that one. Stops early if a driver wants the turn, which then flushes the rest. */
void fs_reactor_flush(fs_reactor *reactor);

/* Lets the connection send messages of message_bytes_max. FS_EGONE. */
int fs_reactor_trust(fs_reactor *reactor, uint64_t handle);

/* Closes one connection in an orderly way. FS_EGONE if it has ended already. */
int fs_reactor_close_conn(fs_reactor *reactor, uint64_t handle, fs_reason reason);

/* Stops listening and closes every connection in an orderly way; turns finish it. Idempotent.
 * hearing: a thread drives, and what clients send until they end or have lingered is an event, also
 * from those that wait in the backlog (FS_ACCEPT_MAX of them). Else it is only counted. */
void fs_reactor_close(fs_reactor *reactor, bool hearing);

/* Sets the linger of connections that begin to close from now on, in place of config.linger_ns. */
void fs_reactor_set_linger(fs_reactor *reactor, uint64_t linger_ns);

/* Whether it is closed and all its connections have ended and were reported. */
bool fs_reactor_ended(fs_reactor *reactor);

/* Lets another event loop watch the poll descriptor, and returns it, -1 if closed. */
int fs_reactor_embed(fs_reactor *reactor);

/* ---- Waiting: any thread ---- */

/* Prepares a waiter. For COUNT the caller sets count then; DRAIN captures what is queued now. */
void fs_reactor_prepare(fs_reactor *reactor, fs_waiter *waiter, fs_wait_kind kind);

/* Prepares a ROOM waiter: for a message of len bytes in the channel's log (FS_NO_LOG: in none), and
 * in the outbox of the connection handle unless that is 0. It is also met if there is nothing to
 * wait for any more. */
void fs_reactor_prepare_room(fs_reactor *reactor, fs_waiter *waiter, uint32_t channel, size_t len,
                             uint64_t handle);

/* Whether what the waiter waits for is so. Takes the lock. */
bool fs_reactor_met(fs_reactor *reactor, const fs_waiter *waiter);

/* Waits until fs_reactor_met, for timeout_ns at most (-1: without an end), and takes turns while no
 * other thread does. 0, -ETIMEDOUT, or -EINTR on a signal; the same waiter may wait again. */
int fs_reactor_wait(fs_reactor *reactor, fs_waiter *waiter, int64_t timeout_ns);

/* ---- Figures: any thread ---- */

const fs_counters *fs_reactor_counters(const fs_reactor *reactor);
void fs_reactor_totals(fs_reactor *reactor, fs_totals *totals);

/* FS_EGONE if the connection has ended and was reported. */
int fs_reactor_conn_stats(fs_reactor *reactor, uint64_t handle, fs_conn_stats *stats);

/* FS_EGONE if nothing reads the channel. */
int fs_reactor_slowest(fs_reactor *reactor, uint32_t channel, fs_slowest *slowest);

/* Fills in as many open connections as fit; returns how many there are. */
uint32_t fs_reactor_open_handles(fs_reactor *reactor, uint64_t *handles, uint64_t *numbers,
                                 uint32_t max);

/* Why a connection has ended or is ending, an fs_reason. FS_EGONE as above; -EAGAIN: it has not. */
int fs_reactor_reason(fs_reactor *reactor, uint64_t handle);

/* The address of a connection's peer. FS_EGONE as above. */
int fs_reactor_peer(fs_reactor *reactor, uint64_t handle, fs_addr *peer);

/* The address of our own side of a connection. FS_EGONE if it has ended; -errno. */
int fs_reactor_local(fs_reactor *reactor, uint64_t handle, fs_addr *local);

#endif
