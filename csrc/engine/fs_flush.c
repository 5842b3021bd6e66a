/* A flush of a log walks all its readers, a flush of direct messages only the connections that have
 * some. All edits below a head, or before an end moved, were recorded before it could be read. So a
 * flush that reads head and end first, and then sees no edit, may send up to there without the
 * lock. pending is the queue of connections that can be sent something. A flush goes along it until
 * its time is over. In that time it takes the readers of a log directly; those that it did not
 * reach go into the queue, in front of those that have had a turn and have more. */
#include "engine/fs_flush.h"

#include "engine/fs_close.h"
#include "engine/fs_subscribe.h"

typedef enum flow {
  FLOW_DONE,    /* nothing is left */
  FLOW_MORE,    /* something is left, and the kernel may take it */
  FLOW_BLOCKED, /* the kernel takes nothing more */
  FLOW_BROKEN,  /* the connection is not what it was */
} flow;

/* ---- One subscription ---- */

static void block(fs_reactor *r, fs_conn *conn, bool progress) {
  conn->blocked = true;
  r->blocked_count++;
  if (progress || conn->blocked_ns == 0) conn->blocked_ns = r->now_ns;
  fs_pace_full(&conn->pace, r->now_ns, fs_conn_taken(conn));
}

static ssize_t send_log(fs_conn *conn, fs_outbox *box, uint64_t limit, size_t max,
                        size_t *offered) {
  *offered = limit > box->cursor ? fs_min((size_t)(limit - box->cursor), max) : 0;
  if (*offered == 0) return 0;
  ssize_t sent = fs_sys_send(conn->fd, fs_log_at(box->log, box->cursor), *offered);
  if (sent > 0) box->cursor += (uint64_t)sent;
  return sent;
}

static ssize_t send_edited(fs_reactor *r, fs_conn *conn, fs_outbox *box, size_t max,
                           size_t *offered) {
  struct iovec iov[FS_IOV_MAX];
  pthread_mutex_lock(&r->lock);
  int used = fs_outbox_gather(box, atomic_load(&box->log->head), max, iov, FS_IOV_MAX, offered);
  pthread_mutex_unlock(&r->lock);
  ssize_t sent = used ? fs_sys_sendv(conn->fd, iov, used) : 0;
  if (sent < 0) return sent;
  pthread_mutex_lock(&r->lock);
  fs_outbox_advance(box, (size_t)sent);
  pthread_mutex_unlock(&r->lock);
  return sent;
}

static void count_sent(fs_reactor *r, fs_conn *conn, size_t sent) {
  fs_count(&conn->bytes_sent, sent);
  fs_count(&r->counters.bytes_sent, sent);
  fs_count(&r->counters.sends, 1);
  atomic_store_explicit(&conn->last_sent_ns, r->now_ns, memory_order_relaxed);
}

static bool has_more(const fs_outbox *box) {
  uint64_t limit = fs_min(atomic_load(&box->log->head), atomic_load(&box->end));
  return box->cursor < limit || atomic_load(&box->count);
}

/* Sends up to max bytes of one subscription. */
static flow flush_sub(fs_reactor *r, fs_conn *conn, fs_sub *sub, size_t max) {
  fs_outbox *box = &sub->box;
  uint64_t before = box->cursor, head = atomic_load(&box->log->head);
  uint64_t limit = fs_min(head, atomic_load(&box->end));
  size_t offered;
  bool edited = atomic_load(&box->count) > 0;
  ssize_t sent =
      edited ? send_edited(r, conn, box, max, &offered) : send_log(conn, box, limit, max, &offered);
  if (sent < 0 && sent != -EAGAIN) {
    fs_close_broken(r, conn, (int)sent);
    return FLOW_BROKEN;
  }
  if (before != box->cursor && before == atomic_load(&box->log->tail))
    sub->channel->tail_stale = true;
  if (sent > 0) count_sent(r, conn, (size_t)sent);
  if (offered > 0 && sent < (ssize_t)offered) {
    block(r, conn, sent > 0);
    return FLOW_BLOCKED;
  }
  return has_more(box) ? FLOW_MORE : FLOW_DONE;
}

/* ---- One connection ---- */

/* The subscription after sub, which is reaped if its stream has ended. */
static fs_sub *next_sub(fs_reactor *r, fs_conn *conn, fs_sub *sub) {
  fs_sub *next = sub->next ? sub->next : &conn->main;
  if (sub != &conn->main && sub->gap_count == 0) fs_subscribe_reap(r, conn, sub);
  return next;
}

/* Sends from each subscription in turn, and leaves none in the middle of a message. */
static flow flush_subs(fs_reactor *r, fs_conn *conn) {
  bool more = false;
  uint32_t visits = 1;
  for (const fs_sub *sub = conn->main.next; sub; sub = sub->next) visits++;
  for (; visits > 0; visits--) {
    flow result = flush_sub(r, conn, conn->current, r->config.flush_bytes);
    pthread_mutex_lock(&r->lock);
    size_t rest = result == FLOW_MORE ? fs_outbox_message_rest(&conn->current->box) : 0;
    pthread_mutex_unlock(&r->lock);
    if (rest) result = flush_sub(r, conn, conn->current, rest);
    if (result == FLOW_BLOCKED || result == FLOW_BROKEN) return result;
    more |= result == FLOW_MORE;
    conn->current = next_sub(r, conn, conn->current);
  }
  return more ? FLOW_MORE : FLOW_DONE;
}

void fs_flush_one(fs_reactor *r, fs_conn *conn) {
  if (conn->blocked || (conn->state != FS_OPEN && conn->state != FS_CLOSING)) return;
  flow result = conn->main.next ? flush_subs(r, conn)
                                : flush_sub(r, conn, &conn->main, r->config.flush_bytes);
  if (result == FLOW_BLOCKED || result == FLOW_BROKEN) return;
  conn->blocked_ns = 0;
  if (result == FLOW_MORE) {
    fs_state_enlist(&r->pending, &conn->pending_link);
    return;
  }
  if (fs_pace_is_full(&conn->pace)) fs_pace_drained(&conn->pace, r->now_ns, fs_conn_taken(conn));
  if (conn->state == FS_CLOSING) fs_close_flushed(r, conn);
}

void fs_flush_again(fs_reactor *r, fs_conn *conn) {
  conn->blocked = false;
  r->blocked_count--;
  fs_flush_one(r, conn);
}

/* ---- All of them ---- */

static void begin_flush(fs_reactor *r) {
  r->flush_visits = 0;
  r->flush_over = false;
}

/* Whether the flush has had its time, or a driver waits for the turn. */
static bool is_over(fs_reactor *r) {
  if (r->flush_over || ++r->flush_visits % FS_FLUSH_VISITS != 0) return r->flush_over;
  uint64_t now_ns = fs_sys_now_ns();
  if (r->flush_visits == FS_FLUSH_VISITS) r->flush_until_ns = now_ns + FS_FLUSH_NS;
  return r->flush_over = now_ns >= r->flush_until_ns || atomic_load(&r->turn_wanted);
}

/* Takes connections that have work of their own, up to one that is to be closed, which it returns.
 * Those that are not in the queue already go into asked. */
static fs_conn *take_until_close(fs_reactor *r, fs_list *asked) {
  fs_conn *close = NULL;
  pthread_mutex_lock(&r->lock);
  while (!close && !fs_list_empty(&r->dirty)) {
    fs_conn *conn = fs_container_of(r->dirty.next, fs_conn, dirty_link);
    fs_list_remove(&conn->dirty_link);
    fs_subscribe_join(r, conn);
    fs_state_enlist(asked, &conn->pending_link);
    if (conn->close_wanted && conn->state == FS_OPEN) close = conn;
  }
  pthread_mutex_unlock(&r->lock);
  return close;
}

/* Takes what other threads asked for: messages to single connections, subscriptions, closes. */
static void take_asked(fs_reactor *r, fs_list *asked) {
  /* Before the lock: a thread that asks now is served below, or sets it again. */
  if (!atomic_load(&r->asked) || !atomic_exchange(&r->asked, false)) return;
  fs_conn *conn;
  /* fs_close_begin looks up the reason that was asked for, under the lock. */
  while ((conn = take_until_close(r, asked))) fs_close_begin(r, conn, FS_REASON_LOCAL);
}

/* Flushes the connections in the list until the time is over. */
static void flush_list(fs_reactor *r, fs_list *list) {
  begin_flush(r);
  while (!fs_list_empty(list) && !is_over(r)) {
    fs_list *link = list->next;
    fs_list_remove(link);
    fs_flush_one(r, fs_container_of(link, fs_conn, pending_link));
  }
}

static void flush_pending(fs_reactor *r) {
  fs_list batch;
  if (fs_list_empty(&r->pending)) {
    begin_flush(r);
    return;
  }
  fs_list_take(&batch, &r->pending);
  flush_list(r, &batch);
  fs_list_append(&batch, &r->pending);
  fs_list_take(&r->pending, &batch);
}

static void flush_channel(fs_reactor *r, fs_channel *channel) {
  uint64_t head = atomic_load(&channel->log.head);
  if (head == atomic_load(&channel->flushed)) return;
  FS_LIST_EACH(link, &channel->subs) {
    fs_conn *conn = fs_container_of(link, fs_sub, channel_link)->conn;
    if (is_over(r))
      fs_state_enlist(&r->pending, &conn->pending_link);
    else
      fs_flush_one(r, conn);
  }
  atomic_store(&channel->flushed, head);
  channel->tail_stale = true;
}

/* Senders that found no room are read again. */
static void resume_stalled(fs_reactor *r) {
  FS_LIST_EACH(link, &r->stalled) {
    fs_list_remove(link);
    fs_list_push(&r->ready, link);
  }
}

bool fs_flush_move_tails(fs_reactor *r) {
  bool moved = false;
  for (uint32_t i = 0; i < r->channel_count; i++) {
    if (!r->channels[i]->tail_stale) continue;
    pthread_mutex_lock(&r->lock);
    fs_channel_move_tail(r->channels[i]);
    pthread_mutex_unlock(&r->lock);
    moved = true;
  }
  if (moved) resume_stalled(r);
  return moved;
}

void fs_flush_asked(fs_reactor *r) {
  fs_list asked;
  fs_list_init(&asked);
  take_asked(r, &asked);
  flush_list(r, &asked);
  fs_list_append(&r->pending, &asked);
}

void fs_flush_all(fs_reactor *r) {
  uint64_t sent_before = atomic_load(&r->counters.bytes_sent);
  if (atomic_load(&r->flush_wanted)) atomic_store(&r->flush_wanted, false);
  fs_flush_asked(r);
  flush_pending(r);
  for (uint32_t i = 0; i < r->channel_count; i++) flush_channel(r, r->channels[i]);
  bool progress = atomic_load(&r->counters.bytes_sent) != sent_before;
  if (!fs_flush_move_tails(r) && progress) resume_stalled(r);
}
