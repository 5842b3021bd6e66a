/* Receiving: accept, read, decode, route.
 *
 * Frames are decoded where they were received: in the reactor's arena, which all connections
 * share. Only what is left over, an unfinished frame or frames that found no room, is copied to the
 * connection's inbox. Events point into the arena, or into inboxes that were retired this turn.
 */
#include <errno.h>
#include <string.h>

#include "engine/fs_reactor.h"

/* ---- Accept ---- */

static void welcome(fs_reactor *r, int fd, const fs_addr *peer) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_open(&r->conns, fd, peer);
  if (conn) {
    fs_sub_init(&conn->main, conn, r->channels[0], r->config.outbox_bytes_max);
    fs_list_push(&r->channels[0]->subs, &conn->main.channel_link);
    conn->current = &conn->main;
    conn->opened_ns = r->now_ns;
    atomic_store(&conn->received_bytes_max, r->config.first_bytes_max);
    atomic_store(&conn->last_sent_ns, r->now_ns);
    atomic_store(&conn->last_received_ns, r->now_ns);
    r->open_count++;
  }
  pthread_mutex_unlock(&r->lock);
  if (!conn) {
    fs_sys_close(fd);
    fs_count(&r->counters.accept_errors, 1);
    return;
  }
  fs_count(&r->counters.accepted, 1);
  fs_expire_watch_idle(r, conn);
  fs_reactor_enlist(&r->untold, &conn->untold_link);
  if (fs_poll_add(&r->poll, fd, conn->handle) < 0) fs_close_kill(r, conn, FS_REASON_MEMORY);
}

void fs_receive_accept(fs_reactor *r) {
  for (int visits = 0; visits < FS_ACCEPT_MAX && fs_reactor_can_accept(r); visits++) {
    fs_addr peer;
    int fd = fs_listeners_accept(&r->listeners, &peer);
    if (fd >= 0) {
      welcome(r, fd, &peer);
    } else if (fd == FS_EREFUSED) {
      fs_count(&r->counters.refused, 1);
    } else if (fd != -EAGAIN && fd != -ECONNABORTED) {
      /* The caller waits in the backlog. */
      fs_count(&r->counters.accept_errors, 1);
      r->accept_at_ns = r->now_ns + FS_ACCEPT_PAUSE_NS;
    } /* Else nobody is there, or has ended in the backlog; the next one (accept(2)). */
  }
}

/* ---- Decode and route ---- */

/* A message that the program answers instead of the relay. */
static bool is_excepted(const fs_reactor *r, fs_slice message) {
  fs_slice except = r->config.relay_except;
  if (except.len == 0 || message.len < except.len) return false;
  return memcmp(message.data, except.data, except.len) == 0;
}

/* The longest message that it may send. */
static size_t longest(const fs_reactor *r, const fs_conn *conn) {
  size_t own = atomic_load_explicit(&conn->received_bytes_max, memory_order_relaxed);
  return own ? own : r->config.message_bytes_max;
}

/* Whether this turn makes no more events of what the connection says: it is the others' turn. */
static bool had_its_turn(const fs_reactor *r) {
  return r->event_count == FS_EVENTS_MAX || r->turn_messages >= r->turn_share;
}

void fs_receive_share(fs_reactor *r) {
  uint32_t most = r->config.turn_messages_max, speakers = r->cut_short;
  r->cut_short = 0;
  if (r->config.turn_ns == 0) return;
  uint64_t each_ns = (r->now_ns - r->cut_ns) / r->cut_events + 1;
  uint64_t share = r->config.turn_ns / each_ns / speakers;
  r->turn_share = (uint32_t)fs_max(1, fs_min(share, most));
}

/* 1, or 0: no room for it now, or -ENOMEM; then nothing was done. */
static int deliver(fs_reactor *r, fs_conn *conn, fs_slice message, bool relayed) {
  bool report = atomic_load_explicit(&r->report, memory_order_relaxed);
  if (report && had_its_turn(r)) return 0;
  if (relayed) {
    size_t framed = (size_t)r->config.codec->measure(message.data, message.len);
    uint64_t seq;
    pthread_mutex_lock(&r->lock);
    fs_conn *exclude = r->config.relay == FS_RELAY_OTHERS ? conn : NULL;
    int result = fs_publish_append(r, r->channels[0], message, framed, exclude, &seq);
    pthread_mutex_unlock(&r->lock);
    if (result == -ENOMEM) return result;
    if (result < 0 && result != FS_ECLOSED) return 0;
  }
  if (report) {
    fs_reactor_report(r, FS_MESSAGE, conn)->message = message;
    r->turn_messages++;
  }
  fs_count(&conn->messages_received, 1);
  fs_count(&r->counters.messages_received, 1);
  return 1;
}

/* Routes the whole frames of buf. Returns the bytes they take, or FS_ETOOBIG, FS_EFRAMING,
 * -ENOMEM. */
static ssize_t route(fs_reactor *r, fs_conn *conn, const uint8_t *buf, size_t len) {
  size_t taken = 0;
  conn->stalled = false;
  while (taken < len) {
    fs_slice message;
    ssize_t frame_len =
        r->config.codec->decode(buf + taken, len - taken, longest(r, conn), &message);
    if (frame_len < 0) return frame_len;
    if (frame_len == 0) break;
    bool excepted = is_excepted(r, message);
    int delivered = deliver(r, conn, message, r->config.relay != FS_RELAY_NONE && !excepted);
    if (delivered < 0) return delivered;
    if (delivered) taken += (size_t)frame_len;
    /* What follows keeps its place behind the answer, or is not relayed after a close. */
    conn->paused = delivered && excepted;
    conn->stalled = !delivered || excepted;
    if (conn->stalled) break;
  }
  return (ssize_t)taken;
}

/* Routes what the inbox holds and keeps the rest in a new one, since events point to the old. */
static int route_kept(fs_reactor *r, fs_conn *conn) {
  fs_inbox *kept = conn->inbox;
  conn->stalled = false;
  if (!kept) return 0;
  ssize_t taken = route(r, conn, kept->data, kept->len);
  if (taken == 0) return 0;
  fs_inbox_retire(&conn->inbox, &r->retired);
  if (taken < 0) return (int)taken;
  return fs_inbox_push(&conn->inbox, kept->data + taken, kept->len - (size_t)taken);
}

/* Takes bytes that have just arrived. */
static int take(fs_reactor *r, fs_conn *conn, const uint8_t *data, size_t len) {
  if (conn->inbox) {
    fs_slice kept = {conn->inbox->data, conn->inbox->len};
    bool whole;
    ssize_t rest = r->config.codec->rest(kept, (fs_slice){data, len}, longest(r, conn), &whole);
    if (rest < 0) return (int)rest;
    int result = fs_inbox_push(&conn->inbox, data, (size_t)rest);
    if (result < 0) return result;
    data += rest;
    len -= (size_t)rest;
    if (whole && (result = route_kept(r, conn)) < 0) return result;
    if (conn->inbox || conn->stalled) return fs_inbox_push(&conn->inbox, data, len);
  }
  ssize_t taken = route(r, conn, data, len);
  if (taken < 0) return (int)taken;
  return fs_inbox_push(&conn->inbox, data + taken, len - (size_t)taken);
}

/* ---- Read ---- */

/* What we neither want nor report: a peer that is being closed may go on talking for a while. */
static void discard(fs_reactor *r, fs_conn *conn) {
  uint8_t *scratch = r->arena + r->arena_used;
  ssize_t received = fs_sys_recv(conn->fd, scratch, FS_ARENA_BYTES - r->arena_used);
  if (received > 0) {
    fs_count(&r->counters.unheard, (uint64_t)received);
    fs_reactor_enlist(&r->ready, &conn->ready_link);
  } else if (received != -EAGAIN) {
    conn->peer_eof = true;
    if (conn->state != FS_CLOSING || received < 0) fs_close_kill(r, conn, FS_REASON_PEER);
  }
}

/* Ends the last line in its peer's place, and routes it. */
static int finish_line(fs_reactor *r, fs_conn *conn) {
  int result = fs_inbox_push(&conn->inbox, (const uint8_t *)"\n", 1);
  return result < 0 ? result : route_kept(r, conn);
}

static void end_of_stream(fs_reactor *r, fs_conn *conn, ssize_t received) {
  fs_reason reason = fs_reason_of_error((int)received);
  conn->peer_eof = true;
  if (conn->inbox) {
    fs_count(&r->counters.unfinished, 1);
    if (reason == FS_REASON_PEER) reason = FS_REASON_UNFINISHED;
  }
  if (received < 0 || conn->state == FS_BROKEN || conn->state == FS_SHUT)
    fs_close_kill(r, conn, reason);
  else if (conn->state == FS_OPEN)
    fs_close_begin(r, conn, reason);
}

/* A speaker whose messages find no room is read again when a flush has made progress; who has just
 * had room for some stands behind those who had none. */
static void set_aside(fs_reactor *r, fs_conn *conn, bool had_room) {
  fs_list *line = had_room ? &r->served : &r->stalled;
  if (conn->paused || had_its_turn(r)) line = &r->ready;
  if (r->turn_messages >= r->turn_share) r->cut_short++;
  fs_reactor_enlist(line, &conn->ready_link);
}

/* Whether a read of less than was asked for means that nothing is left (epoll(7)). Not where it may
 * have stopped at an end, at urgent data (tcp(7)) or at descriptors that came along (unix(7)). */
static bool short_read_is_all(const fs_conn *conn) {
  return !conn->hung_up && !conn->urgent && conn->peer.any.sa_family != AF_UNIX;
}

static void fail(fs_reactor *r, fs_conn *conn, int error) {
  fs_reason reason = error == FS_ETOOBIG    ? FS_REASON_TOO_BIG
                     : error == FS_EFRAMING ? FS_REASON_FRAMING
                                            : FS_REASON_MEMORY;
  if (conn->state == FS_OPEN)
    fs_close_begin(r, conn, reason);
  else
    fs_close_kill(r, conn, reason);
}

/* What becomes of no event costs no time of Python's, and larger reads are flushed in larger sends,
 * of which a relay has one for each client. */
static size_t read_bytes_max(const fs_reactor *r) {
  bool report = atomic_load_explicit(&r->report, memory_order_relaxed);
  return report ? FS_READ_BYTES : FS_RELAY_BYTES;
}

static void read_one(fs_reactor *r, fs_conn *conn) {
  uint64_t before = atomic_load(&conn->messages_received);
  r->turn_messages = 0;
  int result = conn->stalled ? route_kept(r, conn) : 0;
  if (result == 0 && conn->stalled) {
    set_aside(r, conn, atomic_load(&conn->messages_received) != before);
    return;
  }
  size_t asked = fs_min(read_bytes_max(r), FS_ARENA_BYTES - r->arena_used);
  uint8_t *place = r->arena + r->arena_used;
  ssize_t received = result < 0 ? 0 : fs_sys_recv(conn->fd, place, asked);
  if (received > 0) {
    fs_count(&conn->bytes_received, (uint64_t)received);
    fs_count(&r->counters.bytes_received, (uint64_t)received);
    atomic_store_explicit(&conn->last_received_ns, r->now_ns, memory_order_relaxed);
    r->arena_used += (size_t)received;
    result = take(r, conn, place, (size_t)received);
    if (conn->stalled)
      set_aside(r, conn, atomic_load(&conn->messages_received) != before);
    else if ((size_t)received == asked || !short_read_is_all(conn))
      fs_reactor_enlist(&r->ready, &conn->ready_link);
  } else if (result == 0 && received != -EAGAIN) {
    if (received == 0 && conn->inbox && r->config.final_line) result = finish_line(r, conn);
    if (conn->stalled)
      set_aside(r, conn, atomic_load(&conn->messages_received) != before);
    else if (result == 0)
      end_of_stream(r, conn, received);
  }
  if (result < 0) fail(r, conn, result);
}

static bool can_read(const fs_reactor *r) {
  return FS_ARENA_BYTES - r->arena_used >= FS_READ_BYTES / 4 && r->event_count < FS_EVENTS_MAX;
}

void fs_receive_discard(fs_reactor *r) {
  fs_list batch;
  fs_list_take(&batch, &r->ready);
  FS_LIST_EACH(link, &batch) {
    fs_list_remove(link);
    discard(r, fs_container_of(link, fs_conn, ready_link));
  }
}

void fs_receive_read(fs_reactor *r) {
  fs_list batch;
  fs_list_take(&batch, &r->ready);
  while (!fs_list_empty(&batch) && can_read(r)) {
    fs_list *link = batch.next;
    fs_conn *conn = fs_container_of(link, fs_conn, ready_link);
    fs_list_remove(link);
    if ((conn->state == FS_CLOSING || conn->state == FS_SHUT) && !conn->heard)
      discard(r, conn);
    else
      read_one(r, conn);
  }
  if (r->cut_short) {
    r->cut_events = r->event_count;
    r->cut_ns = r->now_ns;
  }
  /* Those whose turn it was not come first the next time, before those that have more. */
  fs_list_append(&batch, &r->ready);
  fs_list_take(&r->ready, &batch);
  fs_list_append(&r->stalled, &r->served);
}
