/* Waiting for the reactor: for room, for what was published to be gone, for connections, for the
 * end. Who waits for what, whether it is so, and who is told; fs_borrow.c has the turns. */
#include "engine/fs_reactor.h"

void fs_reactor_prepare(fs_reactor *r, fs_waiter *waiter, fs_wait_kind kind) {
  waiter->kind = kind;
  fs_list_init(&waiter->link);
  if (kind != FS_WAIT_DRAIN) return;
  pthread_mutex_lock(&r->lock);
  waiter->channel_count = r->channel_count;
  for (uint32_t i = 0; i < waiter->channel_count; i++)
    waiter->heads[i] = atomic_load(&r->channels[i]->log.head);
  waiter->serial = r->serial;
  pthread_mutex_unlock(&r->lock);
}

void fs_reactor_prepare_room(fs_reactor *r, fs_waiter *waiter, uint32_t channel, size_t len,
                             uint64_t handle) {
  fs_reactor_prepare(r, waiter, FS_WAIT_ROOM);
  waiter->bytes = len + r->config.codec->header_len;
  waiter->channel = channel;
  waiter->handle = handle;
  waiter->sender = (uintptr_t)pthread_self();
}

bool fs_wait_log_met(fs_reactor *r, const fs_waiter *waiter) {
  return waiter->channel == FS_NO_LOG ||
         fs_log_reserve(&r->channels[waiter->channel]->log, waiter->bytes);
}

/* Also met when there is no outbox any more: who asks again is told. */
static bool outbox_met(fs_reactor *r, const fs_waiter *waiter) {
  fs_conn *conn = waiter->handle ? fs_conns_find(&r->conns, waiter->handle) : NULL;
  if (!conn || !fs_conn_takes(conn)) return true;
  bool direct = waiter->channel == FS_NO_LOG;
  fs_sub *sub = direct ? &conn->main : fs_subscribe_find(r->channels[waiter->channel], conn);
  return !sub || fs_outbox_has_room(&sub->box, waiter->bytes);
}

bool fs_wait_room_met(fs_reactor *r, const fs_waiter *waiter) {
  return r->closing || (fs_wait_log_met(r, waiter) && outbox_met(r, waiter));
}

static bool conn_drained(const fs_waiter *waiter, const fs_conn *conn) {
  for (const fs_sub *sub = &conn->main; sub; sub = sub->next) {
    uint32_t number = sub->channel->number;
    bool detached = fs_list_empty(&sub->channel_link), newer = number >= waiter->channel_count;
    if (detached || newer) continue;
    if (!fs_outbox_reached(&sub->box, waiter->heads[number], waiter->serial)) return false;
  }
  return conn->joining_count == 0;
}

static bool drain_met(fs_reactor *r, const fs_waiter *waiter) {
  FS_LIST_EACH(link, &r->conns.all)
  if (!conn_drained(waiter, fs_container_of(link, fs_conn, link))) return false;
  return true;
}

static bool met(fs_reactor *r, const fs_waiter *waiter) {
  switch (waiter->kind) {
    case FS_WAIT_ROOM:
      return fs_wait_room_met(r, waiter);
    case FS_WAIT_DRAIN:
      return drain_met(r, waiter);
    case FS_WAIT_COUNT:
      return r->open_count >= waiter->count || r->closing;
    case FS_WAIT_CLOSED:
      return r->closing && !r->listening && fs_list_empty(&r->conns.all);
    case FS_WAIT_FLUSH:
      return !atomic_load(&r->flush_wanted);
    case FS_WAIT_KINDS:
      break;
  }
  FS_ASSERT(!"a kind of its own");
}

bool fs_reactor_ended(fs_reactor *r) {
  if (!atomic_load(&r->closing)) return false;
  pthread_mutex_lock(&r->lock);
  bool ended = !r->listening && r->conns.count == 0;
  pthread_mutex_unlock(&r->lock);
  return ended;
}

bool fs_reactor_met(fs_reactor *r, const fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  bool result = met(r, waiter);
  pthread_mutex_unlock(&r->lock);
  return result;
}

static void tell(fs_waiter *waiter) {
  if (atomic_exchange(&waiter->told, 1) == 0) fs_sys_rouse(&waiter->told);
}

void fs_wait_tell(fs_reactor *r, bool turn_free) {
  /* A change, though of nothing: either we see who enters, or who enters sees what we did before,
   * that we have given the turn back, for one. */
  if (atomic_fetch_add(&r->waiter_count, 0) == 0) return;
  pthread_mutex_lock(&r->lock);
  FS_LIST_EACH(link, &r->waiters) {
    fs_waiter *waiter = fs_container_of(link, fs_waiter, link);
    bool is_met = met(r, waiter);
    if (is_met || turn_free) tell(waiter);
    turn_free &= is_met;
  }
  pthread_mutex_unlock(&r->lock);
}

static void count_waiter(fs_reactor *r, const fs_waiter *waiter, uint32_t by) {
  atomic_fetch_add(&r->waiter_counts[waiter->kind], by);
  atomic_fetch_add(&r->waiter_count, by);
}

void fs_wait_enter(fs_reactor *r, fs_waiter *waiter) {
  atomic_store(&waiter->told, 0);
  pthread_mutex_lock(&r->lock);
  fs_list_push(&r->waiters, &waiter->link);
  if (waiter->kind == FS_WAIT_ROOM) atomic_store(&r->room_wanted, true);
  count_waiter(r, waiter, 1);
  pthread_mutex_unlock(&r->lock);
}

void fs_wait_leave(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_remove(&waiter->link);
  count_waiter(r, waiter, UINT32_MAX);
  pthread_mutex_unlock(&r->lock);
  /* The turn may have been offered to us alone. */
  fs_wait_tell(r, true);
}
