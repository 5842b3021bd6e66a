#include "engine/fs_subscribe.h"

#include "engine/fs_reactor.h"

fs_sub *fs_subscribe_find(fs_channel *channel, fs_conn *conn) {
  for (fs_sub *sub = &conn->main; sub; sub = sub->next)
    if (sub->channel == channel) return sub;
  if (conn->joining_count == 0) return NULL;
  FS_LIST_EACH(link, &channel->joining) {
    fs_sub *sub = fs_container_of(link, fs_sub, channel_link);
    if (sub->conn == conn) return sub;
  }
  return NULL;
}

static int join(fs_reactor *r, fs_channel *channel, fs_conn *conn) {
  fs_sub *sub = malloc(sizeof *sub);
  if (!sub) return -ENOMEM;
  fs_sub_init(sub, conn, channel, r->config.outbox_bytes_max);
  fs_list_push(&channel->joining, &sub->channel_link);
  conn->joining_count++;
  fs_state_ask(r, conn);
  return 0;
}

int fs_reactor_subscribe(fs_reactor *r, uint32_t number, uint64_t handle) {
  int result = FS_EGONE;
  pthread_mutex_lock(&r->lock);
  fs_channel *channel = r->channels[number];
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn && fs_conn_takes(conn)) {
    fs_sub *sub = fs_subscribe_find(channel, conn);
    result = sub ? fs_outbox_resume(&sub->box, ++r->serial) : join(r, channel, conn);
  }
  pthread_mutex_unlock(&r->lock);
  fs_state_wake(r);
  return result;
}

int fs_reactor_unsubscribe(fs_reactor *r, uint32_t number, uint64_t handle) {
  int result = FS_EGONE;
  pthread_mutex_lock(&r->lock);
  fs_conn *conn = fs_conns_find(&r->conns, handle);
  if (conn && fs_conn_takes(conn)) {
    fs_sub *sub = fs_subscribe_find(r->channels[number], conn);
    if (sub && atomic_load(&sub->box.end) == UINT64_MAX) {
      /* What was published before still comes, so the stream ends with a whole message. */
      atomic_store(&sub->box.end, atomic_load(&sub->box.log->head));
      fs_state_ask(r, conn);
    }
    result = 0;
  }
  pthread_mutex_unlock(&r->lock);
  fs_state_wake(r);
  return result;
}

void fs_subscribe_end_all(fs_reactor *r, fs_conn *conn) {
  for (uint32_t i = 0; i < r->channel_count; i++) {
    fs_sub *sub = fs_subscribe_find(r->channels[i], conn);
    if (!sub) continue;
    uint64_t end = atomic_load(&sub->box.end), head = atomic_load(&sub->box.log->head);
    atomic_store(&sub->box.end, fs_min(end, head));
  }
}

void fs_subscribe_join(fs_reactor *r, fs_conn *conn) {
  for (uint32_t i = 0; i < r->channel_count && conn->joining_count > 0; i++) {
    FS_LIST_EACH(link, &r->channels[i]->joining) {
      fs_sub *sub = fs_container_of(link, fs_sub, channel_link), **last = &conn->main.next;
      if (sub->conn != conn) continue;
      while (*last) last = &(*last)->next;
      *last = sub;
      fs_list_remove(link);
      fs_list_push(&sub->channel->subs, link);
      conn->joining_count--;
    }
  }
}

void fs_subscribe_reap(fs_reactor *r, fs_conn *conn, fs_sub *sub) {
  pthread_mutex_lock(&r->lock);
  bool ended = sub->box.cursor >= atomic_load(&sub->box.end) && atomic_load(&sub->box.count) == 0;
  if (ended) {
    fs_sub **place = &conn->main.next;
    while (*place != sub) place = &(*place)->next;
    *place = sub->next;
    uint64_t sent_count = fs_outbox_sent_count(&sub->box);
    conn->settled_count += sent_count;
    fs_count(&r->counters.deliveries, sent_count);
    fs_outbox_fini(&sub->box);
    fs_list_remove(&sub->channel_link);
    sub->channel->tail_stale = true;
  }
  pthread_mutex_unlock(&r->lock);
  if (ended) free(sub);
}
