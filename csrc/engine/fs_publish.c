#include "engine/fs_publish.h"

#include "engine/fs_reactor.h"
#include "engine/fs_subscribe.h"

/* ---- Append and queue ---- */

int fs_publish_append(fs_reactor *r, fs_channel *channel, fs_slice message, size_t framed,
                      fs_conn *exclude, uint64_t *seq) {
  if (r->closing) return FS_ECLOSED;
  uint8_t *place = fs_log_reserve(&channel->log, framed);
  if (!place) return FS_EFULL;
  fs_sub *sub = exclude && fs_conn_takes(exclude) ? fs_subscribe_find(channel, exclude) : NULL;
  if (sub && atomic_load(&sub->box.end) == UINT64_MAX) {
    int result = fs_outbox_skip(&sub->box, framed, ++r->serial);
    if (result < 0) return result;
  }
  r->config.codec->encode(place, framed, message.data);
  *seq = fs_log_commit(&channel->log, framed);
  return 0;
}

static ssize_t measure(const fs_reactor *r, const uint8_t *data, size_t len) {
  ssize_t framed = r->config.codec->measure(data, len);
  size_t most = r->config.message_bytes_max + r->config.codec->header_len;
  return framed > (ssize_t)most ? FS_ETOOBIG : framed;
}

bool fs_reactor_flush_due(const fs_reactor *r, uint32_t number) {
  const fs_channel *channel = r->channels[number];
  return atomic_load(&channel->log.head) - atomic_load(&channel->flushed) >= FS_FLUSH_DUE_BYTES;
}

int fs_reactor_publish(fs_reactor *r, uint32_t channel, const uint8_t *data, size_t len,
                       uint64_t exclude, uint64_t *seq) {
  ssize_t framed = measure(r, data, len);
  if (framed < 0) return (int)framed;
  fs_slice message = {data, len};
  pthread_mutex_lock(&r->lock);
  fs_conn *excluded = exclude ? fs_conns_find(&r->conns, exclude) : NULL;
  int result = fs_publish_append(r, r->channels[channel], message, (size_t)framed, excluded, seq);
  pthread_mutex_unlock(&r->lock);
  if (result < 0) return result;
  fs_state_wake(r);
  return fs_reactor_flush_due(r, channel);
}

int fs_reactor_measure(const fs_reactor *r, fs_outgoing *messages, size_t count, size_t *index) {
  for (size_t i = 0; i < count; i++) {
    ssize_t framed = measure(r, messages[i].message.data, messages[i].message.len);
    *index = i;
    if (framed < 0) return (int)framed;
    messages[i].framed = (size_t)framed;
  }
  return 0;
}

int fs_reactor_publish_many(fs_reactor *r, uint32_t channel, const fs_outgoing *messages,
                            size_t count, uint64_t *seq) {
  size_t done = 0;
  int result = 0;
  pthread_mutex_lock(&r->lock);
  for (; done < count; done++) {
    const fs_outgoing *next = &messages[done];
    result = fs_publish_append(r, r->channels[channel], next->message, next->framed, NULL, seq);
    if (result < 0) break;
  }
  pthread_mutex_unlock(&r->lock);
  if (result == FS_ECLOSED && done == 0) return result;
  fs_state_wake(r);
  return (int)done;
}

/* Queues framed bytes and takes them over. Under lock. */
static int insert(fs_reactor *r, fs_conn *conn, fs_insert *message) {
  int result = fs_outbox_insert(&conn->main.box, message, ++r->serial);
  if (result == 0) fs_state_ask(r, conn);
  return result;
}

static fs_insert *frame(const fs_reactor *r, const uint8_t *data, size_t framed) {
  fs_insert *message = malloc(sizeof *message + framed);
  if (!message) return NULL;
  *message = (fs_insert){.len = framed};
  r->config.codec->encode(message->data, framed, data);
  return message;
}

int fs_publish_heartbeat(fs_reactor *r, fs_conn *conn) {
  if (!fs_conn_takes(conn)) return FS_EGONE;
  fs_insert *message = frame(r, NULL, (size_t)r->config.codec->measure(NULL, 0));
  if (!message) return -ENOMEM;
  int result = insert(r, conn, message);
  if (result < 0) free(message);
  return result;
}

/* Whether nothing is asked for but what was sent to conn, and conn reads one channel only. Under
 * the lock. */
static bool asked_alone(const fs_reactor *r, const fs_conn *conn) {
  return r->dirty.next == &conn->dirty_link && r->dirty.prev == &conn->dirty_link &&
         !conn->main.next;
}

int fs_publish_direct(fs_reactor *r, uint64_t handle, const uint8_t *data, size_t len) {
  ssize_t framed = measure(r, data, len);
  if (framed < 0) return (int)framed;
  fs_insert *message = frame(r, data, (size_t)framed);
  if (!message) return -ENOMEM;
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  int result = conn && fs_conn_takes(conn) ? insert(r, conn, message) : FS_EGONE;
  if (result == 0)
    atomic_store_explicit(&conn->sender, (uintptr_t)pthread_self(), memory_order_relaxed);
  bool lone = result == 0 && atomic_load(&r->lone) && atomic_exchange(&r->lone, false) &&
              asked_alone(r, conn);
  pthread_mutex_unlock(&r->lock);
  if (result < 0) free(message);
  return result < 0 ? result : lone;
}
