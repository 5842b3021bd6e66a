#include "engine/fs_waiter.h"

#include "engine/fs_reactor.h"
#include "engine/fs_subscribe.h"

void fs_reactor_prepare(fs_reactor *r, fs_waiter *waiter, fs_wait_kind kind) {
  waiter->kind = kind;
  fs_list_init(&waiter->link);
  if (kind != FS_WAIT_DRAIN) return;
  pthread_mutex_lock(&r->lock);
  waiter->drain.channel_count = r->channel_count;
  for (uint32_t i = 0; i < waiter->drain.channel_count; i++)
    waiter->drain.heads[i] = atomic_load(&r->channels[i]->log.head);
  waiter->drain.serial = r->serial;
  pthread_mutex_unlock(&r->lock);
}

void fs_reactor_prepare_room(fs_reactor *r, fs_waiter *waiter, uint32_t channel, size_t len,
                             uint64_t handle) {
  fs_reactor_prepare(r, waiter, FS_WAIT_ROOM);
  waiter->room = (fs_wanted_room){
      .bytes = len + r->config.codec->header_len,
      .channel = channel,
      .handle = handle,
      .sender = (uintptr_t)pthread_self(),
  };
}

bool fs_waiter_has_log(fs_reactor *r, const fs_wanted_room *room) {
  return room->channel == FS_NO_LOG ||
         fs_log_reserve(&r->channels[room->channel]->log, room->bytes);
}

/* Also true if there is no outbox any more: the next attempt fails with the reason. */
static bool has_outbox(fs_reactor *r, const fs_wanted_room *room) {
  fs_conn *conn = room->handle ? fs_conns_find(&r->conns, room->handle) : NULL;
  if (!conn || !fs_conn_takes(conn)) return true;
  bool direct = room->channel == FS_NO_LOG;
  fs_sub *sub = direct ? &conn->main : fs_subscribe_find(r->channels[room->channel], conn);
  return !sub || fs_outbox_has_room(&sub->box, room->bytes);
}

bool fs_waiter_has_room(fs_reactor *r, const fs_wanted_room *room) {
  return r->closing || (fs_waiter_has_log(r, room) && has_outbox(r, room));
}

static bool conn_drained(const fs_wanted_drain *drain, const fs_conn *conn) {
  for (const fs_sub *sub = &conn->main; sub; sub = sub->next) {
    uint32_t number = sub->channel->number;
    bool detached = fs_list_empty(&sub->channel_link), newer = number >= drain->channel_count;
    if (detached || newer) continue;
    if (!fs_outbox_reached(&sub->box, drain->heads[number], drain->serial)) return false;
  }
  return conn->joining_count == 0;
}

static bool is_drained(fs_reactor *r, const fs_wanted_drain *drain) {
  FS_LIST_EACH(link, &r->conns.all)
  if (!conn_drained(drain, fs_container_of(link, fs_conn, link))) return false;
  return true;
}

static bool met(fs_reactor *r, const fs_waiter *waiter) {
  switch (waiter->kind) {
    case FS_WAIT_ROOM:
      return fs_waiter_has_room(r, &waiter->room);
    case FS_WAIT_DRAIN:
      return is_drained(r, &waiter->drain);
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

void fs_waiter_tell(fs_reactor *r, bool turn_free) {
  /* A read-modify-write, though it changes nothing: either we see the waiter that enters, or its
   * thread sees what we did before, such as giving the turn back. */
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

void fs_waiter_enter(fs_reactor *r, fs_waiter *waiter) {
  atomic_store(&waiter->told, 0);
  pthread_mutex_lock(&r->lock);
  fs_list_push(&r->waiters, &waiter->link);
  if (waiter->kind == FS_WAIT_ROOM) atomic_store(&r->room_wanted, true);
  count_waiter(r, waiter, 1);
  pthread_mutex_unlock(&r->lock);
}

void fs_waiter_leave(fs_reactor *r, fs_waiter *waiter) {
  pthread_mutex_lock(&r->lock);
  fs_list_remove(&waiter->link);
  count_waiter(r, waiter, UINT32_MAX);
  pthread_mutex_unlock(&r->lock);
  /* The turn may have been offered to us alone. */
  fs_waiter_tell(r, true);
}
