#include "engine/fs_receive.h"

#include "engine/fs_close.h"
#include "engine/fs_route.h"

/* What we neither want nor report: a peer that is being closed may go on talking for a while. */
static void discard(fs_reactor *r, fs_conn *conn) {
  uint8_t *scratch = r->arena + r->arena_used;
  ssize_t received = fs_sys_recv(conn->fd, scratch, FS_ARENA_BYTES - r->arena_used);
  if (received > 0) {
    fs_count(&r->counters.unheard, (uint64_t)received);
    fs_state_enlist(&r->ready, &conn->ready_link);
  } else if (received != -EAGAIN) {
    conn->peer_eof = true;
    if (conn->state != FS_CLOSING || received < 0) fs_close_kill(r, conn, FS_REASON_PEER);
  }
}

/* Ends the last line in its peer's place, and routes it. */
static int finish_line(fs_reactor *r, fs_conn *conn) {
  int result = fs_inbox_push(&conn->inbox, (const uint8_t *)"\n", 1);
  return result < 0 ? result : fs_route_kept(r, conn);
}

static void end_of_stream(fs_reactor *r, fs_conn *conn, ssize_t received) {
  fs_reason reason = fs_close_reason_of((int)received);
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
  if (conn->paused || fs_route_had_turn(r)) line = &r->ready;
  if (r->turn_messages >= r->turn_share) r->cut_short++;
  fs_state_enlist(line, &conn->ready_link);
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
  int result = conn->stalled ? fs_route_kept(r, conn) : 0;
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
    result = fs_route_take(r, conn, place, (size_t)received);
    if (conn->stalled)
      set_aside(r, conn, atomic_load(&conn->messages_received) != before);
    else if ((size_t)received == asked || !short_read_is_all(conn))
      fs_state_enlist(&r->ready, &conn->ready_link);
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
