/* Frames are decoded where they were received: in the reactor's arena, which all connections share.
 * Only what is left over, an unfinished frame or frames that found no room, is copied to the
 * connection's inbox. */
#include "engine/fs_route.h"

#include <string.h>

#include "engine/fs_publish.h"
#include "engine/fs_reactor.h"

/* Whether the program, not the relay, deals with the message. */
static bool is_excepted(const fs_reactor *r, fs_slice message) {
  fs_slice except = r->config.relay_except;
  if (except.len == 0 || message.len < except.len) return false;
  return memcmp(message.data, except.data, except.len) == 0;
}

/* The longest message that the connection may send. */
static size_t longest(const fs_reactor *r, const fs_conn *conn) {
  size_t own = atomic_load_explicit(&conn->received_bytes_max, memory_order_relaxed);
  return own ? own : r->config.message_bytes_max;
}

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

/* Relays and reports one message. FS_EFULL (no room for it now), -ENOMEM: nothing was done. */
static int deliver(fs_reactor *r, fs_conn *conn, fs_slice message, bool relayed) {
  bool report = atomic_load_explicit(&r->report, memory_order_relaxed);
  if (report && fs_route_had_turn(r)) return FS_EFULL;
  if (relayed) {
    size_t framed = fs_codec_framed_len(r->config.codec, message);
    uint64_t seq;
    pthread_mutex_lock(&r->lock);
    fs_conn *exclude = r->config.relay == FS_RELAY_OTHERS ? conn : NULL;
    int result = fs_publish_append(r, r->channels[0], message, framed, exclude, &seq);
    pthread_mutex_unlock(&r->lock);
    if (result == -ENOMEM) return result;
    if (result < 0 && result != FS_ECLOSED) return FS_EFULL;
  }
  if (report) {
    fs_state_report(r, FS_MESSAGE, conn)->message = message;
    r->turn_messages++;
  }
  fs_count(&conn->messages_received, 1);
  fs_count(&r->counters.messages_received, 1);
  return 0;
}

/* Routes the whole frames at the beginning of *bytes, which is then what follows them. Returns as
 * fs_route_take does. */
static int route(fs_reactor *r, fs_conn *conn, fs_slice *bytes) {
  while (bytes->len > 0) {
    fs_slice message;
    ssize_t frame_len =
        r->config.codec->decode(bytes->data, bytes->len, longest(r, conn), &message);
    if (frame_len < 0) return (int)frame_len;
    if (frame_len == 0) return FS_UNFINISHED;
    bool excepted = is_excepted(r, message);
    int result = deliver(r, conn, message, r->config.relay != FS_RELAY_NONE && !excepted);
    if (result == FS_EFULL) return FS_NO_ROOM;
    if (result < 0) return result;
    bytes->data += frame_len;
    bytes->len -= (size_t)frame_len;
    /* What follows must come after the answer, and is not relayed after a close. */
    if (excepted) return FS_AWAITS_ANSWER;
  }
  return FS_ROUTED_ALL;
}

/* Appends bytes to the inbox. Returns routed, or -ENOMEM. */
static int keep(fs_conn *conn, fs_slice bytes, int routed) {
  int result = fs_inbox_push(&conn->inbox, bytes.data, bytes.len);
  return result < 0 ? result : routed;
}

/* The rest goes into a new inbox, since events point to the old one. */
int fs_route_kept(fs_reactor *r, fs_conn *conn) {
  fs_inbox *kept = conn->inbox;
  if (!kept) return FS_ROUTED_ALL;
  fs_slice rest = {kept->data, kept->len};
  int routed = route(r, conn, &rest);
  if (routed >= 0 && rest.len == kept->len) return routed;
  fs_inbox_retire(&conn->inbox, &r->retired);
  return routed < 0 ? routed : keep(conn, rest, routed);
}

/* Completes the frame that the inbox begins with bytes from *bytes, which is then what follows
 * them, and routes it if it is whole. */
static int complete_kept(fs_reactor *r, fs_conn *conn, fs_slice *bytes) {
  fs_slice kept = {conn->inbox->data, conn->inbox->len};
  bool whole;
  ssize_t rest = r->config.codec->rest(kept, *bytes, longest(r, conn), &whole);
  if (rest < 0) return (int)rest;
  int result = keep(conn, (fs_slice){bytes->data, (size_t)rest}, FS_UNFINISHED);
  if (result < 0) return result;
  bytes->data += rest;
  bytes->len -= (size_t)rest;
  return whole ? fs_route_kept(r, conn) : FS_UNFINISHED;
}

int fs_route_take(fs_reactor *r, fs_conn *conn, const uint8_t *data, size_t len) {
  fs_slice bytes = {data, len};
  int routed = conn->inbox ? complete_kept(r, conn, &bytes) : FS_ROUTED_ALL;
  if (routed == FS_ROUTED_ALL) routed = route(r, conn, &bytes);
  return routed < 0 ? routed : keep(conn, bytes, routed);
}

int fs_reactor_trust(fs_reactor *r, uint64_t handle) {
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn) atomic_store(&conn->received_bytes_max, 0);
  pthread_mutex_unlock(&r->lock);
  return conn ? 0 : FS_EGONE;
}
