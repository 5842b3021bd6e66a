#include "engine/fs_receive.h"

#include "engine/fs_close.h"
#include "engine/fs_route.h"

/* Reads bytes of a connection that is being closed: they are counted, not reported. */
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

/* Ends the last line for its peer, and routes it. */
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

/* A sender whose messages find no room is read again when a flush has made progress. One that has
 * just had room for some goes behind those that had none. */
static void set_aside(fs_reactor *r, fs_conn *conn, int routed, bool had_room) {
  fs_list *line = had_room ? &r->served : &r->stalled;
  if (routed == FS_AWAITS_ANSWER || fs_route_had_turn(r)) line = &r->ready;
  if (r->turn_messages >= r->turn_share) r->cut_short++;
  fs_state_enlist(line, &conn->ready_link);
}

/* Whether a short read means that nothing is left (epoll(7)). Not if it may have stopped at an end,
 * at urgent data (tcp(7)) or at descriptors that came along (unix(7)). */
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

/* Bytes that become no events cost Python nothing, so more are read at once: larger reads become
 * larger sends, and a relay has one send for each client. */
static size_t read_bytes_max(const fs_reactor *r) {
  bool report = atomic_load_explicit(&r->report, memory_order_relaxed);
  return report ? FS_READ_BYTES : FS_RELAY_BYTES;
}

/* Nothing more comes: received is 0 or an error. */
static int take_end(fs_reactor *r, fs_conn *conn, ssize_t received) {
  bool cut_off = received == 0 && conn->inbox && r->config.final_line;
  int routed = cut_off ? finish_line(r, conn) : FS_ROUTED_ALL;
  if (fs_route_goes_on(routed)) end_of_stream(r, conn, received);
  return routed;
}

/* Reads once and routes it. Returns as fs_route_take does. */
static int receive(fs_reactor *r, fs_conn *conn) {
  size_t asked = fs_min(read_bytes_max(r), FS_ARENA_BYTES - r->arena_used);
  uint8_t *place = r->arena + r->arena_used;
  ssize_t received = fs_sys_recv(conn->fd, place, asked);
  if (received == -EAGAIN) return FS_ROUTED_ALL;
  if (received <= 0) return take_end(r, conn, received);
  fs_count(&conn->bytes_received, (uint64_t)received);
  fs_count(&r->counters.bytes_received, (uint64_t)received);
  atomic_store_explicit(&conn->last_received_ns, r->now_ns, memory_order_relaxed);
  r->arena_used += (size_t)received;
  int routed = fs_route_take(r, conn, place, (size_t)received);
  bool more = (size_t)received == asked || !short_read_is_all(conn);
  /* Also after an error: the rest is still to be read, and discarded. */
  if (more && routed < FS_NO_ROOM) fs_state_enlist(&r->ready, &conn->ready_link);
  return routed;
}

static void read_one(fs_reactor *r, fs_conn *conn) {
  uint64_t before = atomic_load(&conn->messages_received);
  r->turn_messages = 0;
  int routed = conn->stalled ? fs_route_kept(r, conn) : FS_ROUTED_ALL;
  if (fs_route_goes_on(routed)) routed = receive(r, conn);
  conn->stalled = routed >= FS_NO_ROOM;
  if (routed < 0)
    fail(r, conn, routed);
  else if (conn->stalled)
    set_aside(r, conn, routed, atomic_load(&conn->messages_received) != before);
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
  /* Connections that were skipped go first next time, before those that have more. */
  fs_list_append(&batch, &r->ready);
  fs_list_take(&r->ready, &batch);
  fs_list_append(&r->stalled, &r->served);
}
