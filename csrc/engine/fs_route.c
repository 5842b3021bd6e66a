/* Frames are decoded where they were received: in the reactor's arena, which all connections share.
 * Only what is left over, an unfinished frame or frames that found no room, is copied to the
 * connection's inbox. */
#include "engine/fs_route.h"

#include <string.h>

#include "engine/fs_publish.h"
#include "engine/fs_reactor.h"

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
bool fs_route_had_turn(const fs_reactor *r) {
  return r->event_count == FS_EVENTS_MAX || r->turn_messages >= r->turn_share;
}

void fs_route_share(fs_reactor *r) {
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
  if (report && fs_route_had_turn(r)) return 0;
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
    fs_state_report(r, FS_MESSAGE, conn)->message = message;
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
int fs_route_kept(fs_reactor *r, fs_conn *conn) {
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
int fs_route_take(fs_reactor *r, fs_conn *conn, const uint8_t *data, size_t len) {
  if (conn->inbox) {
    fs_slice kept = {conn->inbox->data, conn->inbox->len};
    bool whole;
    ssize_t rest = r->config.codec->rest(kept, (fs_slice){data, len}, longest(r, conn), &whole);
    if (rest < 0) return (int)rest;
    int result = fs_inbox_push(&conn->inbox, data, (size_t)rest);
    if (result < 0) return result;
    data += rest;
    len -= (size_t)rest;
    if (whole && (result = fs_route_kept(r, conn)) < 0) return result;
    if (conn->inbox || conn->stalled) return fs_inbox_push(&conn->inbox, data, len);
  }
  ssize_t taken = route(r, conn, data, len);
  if (taken < 0) return (int)taken;
  return fs_inbox_push(&conn->inbox, data + taken, len - (size_t)taken);
}

int fs_reactor_trust(fs_reactor *r, uint64_t handle) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) atomic_store(&conn->received_bytes_max, 0);
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}
