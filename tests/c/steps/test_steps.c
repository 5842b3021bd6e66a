/* The wait protocol of fs_borrow.h, in every order of steps: no thread sleeps while what it waits
 * for is so, and nothing that was asked for stays undone while a thread has the turn or waits. */
#include <string.h>

#include "check.h"
#include "engine/fs_reactor.h"
#include "engine/fs_state.h"
#include "kernel.h"

enum { PREEMPTIONS_MAX = STEPS_PREEMPTIONS }; /* orders grow with the power of it */
enum { MESSAGE_BYTES = 500, MANY = 1 << 20 };

static fs_reactor *r;
static uint64_t handles[KERNEL_PEERS_MAX];
static bool driven;                /* a thread drives */
static int begun, queued, flushed; /* messages; of those, how many before the last flush() */
static int messages_heard;

/* ---- What threads do, as the Python side does it ---- */

static const uint8_t message[MESSAGE_BYTES];

static bool make_room(uint32_t channel, size_t len, uint64_t handle) {
  fs_waiter waiter;
  fs_reactor_prepare_room(r, &waiter, channel, len, handle);
  return fs_reactor_wait(r, &waiter, -1) == 0;
}

static void publish_to(uint32_t channel) {
  uint64_t seq;
  int result;
  begun++;
  while ((result = fs_reactor_publish(r, channel, message, MESSAGE_BYTES, 0, &seq)) == FS_EFULL)
    if (!make_room(channel, MESSAGE_BYTES, 0)) return;
  queued++;
  if (result == 1) fs_reactor_flush(r);
}

static void publish(void) { publish_to(0); }

static void send_to(int i) {
  int result;
  begun++;
  while ((result = fs_reactor_send(r, handles[i], message, MESSAGE_BYTES)) == FS_EOUTBOX)
    if (!make_room(FS_NO_LOG, MESSAGE_BYTES, handles[i])) return;
  queued++;
  if (result == 1) fs_reactor_catch_up(r);
}

static void send_first(void) { send_to(0); }
static void send_second(void) { send_to(1); }

static void flush(void) {
  int before = queued;
  fs_reactor_flush(r);
  flushed = before;
}

static void publish_and_flush(void) {
  publish();
  flush();
}

static void publish_beside_and_flush(void) {
  publish_to(1);
  flush();
}

static void wait_for(fs_wait_kind kind) {
  fs_waiter waiter;
  fs_reactor_prepare(r, &waiter, kind);
  waiter.count = 3;
  (void)fs_reactor_wait(r, &waiter, -1);
}

static void drain(void) { wait_for(FS_WAIT_DRAIN); }
static void wait_three(void) { wait_for(FS_WAIT_COUNT); }

static void close_and_wait(void) {
  fs_reactor_close(r, driven);
  wait_for(FS_WAIT_CLOSED);
}

/* Consumes the events of a turn, and answers each message. */
static void consume(int count) {
  int messages = 0;
  for (int i = 0; i < count; i++) messages += r->events[i].kind == FS_MESSAGE;
  if (count > 0 && fs_reactor_consumed(r)) fs_reactor_catch_up(r);
  messages_heard += messages;
  while (messages-- > 0) send_second();
}

static void drive(void) {
  while (!steps_over() && !fs_reactor_ended(r)) consume(fs_reactor_drive(r, -1));
}

/* Another event loop watches the descriptor. */
static void drive_embedded(void) {
  while (!steps_over() && !fs_reactor_ended(r)) {
    kernel_await_poll();
    if (!steps_over()) consume(fs_reactor_drive(r, 0));
  }
}

/* One turn, and not another for long. */
static void drive_once(void) { consume(fs_reactor_drive(r, 0)); }

static void first_takes(void) { kernel_takes(0, MANY); }
static void second_speaks(void) { kernel_says(1, "x\n"); }
static void third_calls(void) { kernel_call(MANY); }

static void both_take(void) {
  kernel_takes(1, MANY);
  kernel_takes(0, MANY);
}

/* ---- What there is at first ---- */

static void turn_once(void) { consume(fs_reactor_turn(r, 0)); }

static size_t lost_place; /* in the reactor; 0: nowhere */

static void watch(void) {
  steps_lost = lost_place ? (const char *)r + lost_place : NULL;
  steps_watch(&r->asked, offsetof(fs_reactor, linger_ns) - offsetof(fs_reactor, asked));
  steps_watch(&r->turn_wanted, offsetof(fs_reactor, report) - offsetof(fs_reactor, turn_wanted));
  for (uint32_t i = 0; i < r->channel_count; i++) {
    steps_watch(&r->channels[i]->log.head, sizeof(uint64_t));
    steps_watch(&r->channels[i]->flushed, sizeof(uint64_t));
  }
}

/* Two connections, of which the second takes all; no limit of time anywhere. */
static void set_up(size_t first_room, fs_policy policy) {
  fs_config config = {.codec = &fs_codec_line,
                      .policy = policy,
                      .log_bytes = 4096,
                      .message_bytes_max = MESSAGE_BYTES,
                      .outbox_bytes_max = 1200,
                      .flush_bytes = 1 << 18,
                      .linger_ns = 3600 * 1000000000ULL,
                      .connections_max = KERNEL_PEERS_MAX};
  int listen_fd = 0; /* whichever */
  kernel_begin();
  driven = false;
  steps_lost = NULL;
  begun = queued = flushed = messages_heard = 0;
  CHECK_INT(fs_reactor_new(&r, &config, &listen_fd, 1), 0);
  atomic_store(&r->report, true);
  kernel_call(first_room);
  kernel_call(MANY);
  turn_once();
  uint64_t numbers[KERNEL_PEERS_MAX];
  CHECK_INT(fs_reactor_open_handles(r, handles, numbers, KERNEL_PEERS_MAX), 2);
}

static void two_that_take(void) {
  set_up(MANY, FS_POLICY_BLOCK);
  watch();
}

static void fill_log(void) {
  uint64_t seq;
  while (fs_reactor_publish(r, 0, message, MESSAGE_BYTES, 0, &seq) >= 0) turn_once();
}

static void first_takes_nothing(void) {
  set_up(0, FS_POLICY_BLOCK);
  fill_log();
  watch();
}

/* And the second reads another channel beside. */
static void two_channels(void) {
  set_up(0, FS_POLICY_BLOCK);
  fill_log();
  CHECK_INT(fs_reactor_add_channel(r, 4096, FS_POLICY_BLOCK, 0), 1);
  CHECK_INT(fs_reactor_subscribe(r, 1, handles[1]), 0);
  turn_once();
  watch();
}

static void first_loses_the_oldest(void) {
  uint64_t seq;
  set_up(0, FS_POLICY_DROP_OLDEST);
  /* Without a turn at the end, in which it would lose them. */
  while (fs_reactor_publish(r, 0, message, MESSAGE_BYTES, 0, &seq) >= 0) continue;
  watch();
}

static void outboxes_full(void) {
  set_up(0, FS_POLICY_BLOCK);
  kernel_peer_at(1)->room = 0;
  for (int i = 0; i < 2; i++)
    while (fs_reactor_send(r, handles[i], message, MESSAGE_BYTES) >= 0) turn_once();
  watch();
}

static void embedded(void) {
  set_up(0, FS_POLICY_BLOCK);
  fill_log();
  CHECK(fs_reactor_embed(r) >= 0);
  turn_once();
  watch();
}

static void tear_down(void) {
  fs_reactor_free(r);
  r = NULL;
}

/* ---- What must be so when no thread can go on ---- */

static bool no_thread_waits_in_vain(void) {
  FS_LIST_EACH(link, &r->waiters)
  if (fs_reactor_met(r, fs_container_of(link, fs_waiter, link))) return false;
  return true;
}

/* Nothing is left that its kernel would take. */
static bool all_is_sent(void) {
  FS_LIST_EACH(link, &r->conns.all) {
    const fs_conn *conn = fs_container_of(link, fs_conn, link);
    if (conn->state == FS_DEAD || kernel_peer_at((int)conn->number - 1)->room == 0) continue;
    if (conn->joining_count || conn->close_wanted) return false;
    for (const fs_sub *sub = &conn->main; sub; sub = sub->next)
      if (sub->box.cursor < fs_min(sub->box.log->head, sub->box.end) || sub->box.count)
        return false;
  }
  return true;
}

static bool fine(void) {
  if (!no_thread_waits_in_vain()) return false;
  bool cared_for = driven || (begun && flushed == begun) || !fs_list_empty(&r->waiters);
  if (cared_for && !all_is_sent()) return false;
  return !driven || !kernel_has_news();
}

static bool fine_driven(void) {
  driven = true;
  return fine();
}

static bool first_ended(void) { return fine() && steps_ended(0); }
static bool first_two_ended(void) { return first_ended() && steps_ended(1); }
static bool driven_and_first_ended(void) { return fine_driven() && steps_ended(0); }

static bool answered(void) { return fine_driven() && messages_heard == 1; }

static bool closed(void) {
  return no_thread_waits_in_vain() && steps_ended(0) && steps_ended(1) &&
         fs_list_empty(&r->conns.all);
}

static const steps_scene scenes[] = {
    {"room, no driver", first_takes_nothing, {publish, first_takes}, first_ended, tear_down},
    {"room, two publish",
     first_takes_nothing,
     {publish, publish, first_takes},
     first_two_ended,
     tear_down},
    {"room, driven",
     first_takes_nothing,
     {publish, drive, first_takes},
     driven_and_first_ended,
     tear_down},
    {"room, embedded",
     embedded,
     {publish, drive_embedded, first_takes},
     driven_and_first_ended,
     tear_down},
    {"room by dropping, no driver", first_loses_the_oldest, {publish}, first_ended, tear_down},
    {"room by dropping, driven",
     first_loses_the_oldest,
     {publish, drive},
     driven_and_first_ended,
     tear_down},
    {"a wait for room sends", first_takes_nothing, {publish, send_second}, fine, tear_down},
    {"a wait for room flushes", two_channels, {publish, publish_beside_and_flush}, fine, tear_down},
    {"a wait for room, send and flush",
     first_takes_nothing,
     {publish, send_second, flush},
     fine,
     tear_down},
    {"a driver comes", first_takes_nothing, {publish, drive, second_speaks}, answered, tear_down},
    {"embedded, a client speaks",
     embedded,
     {publish, drive_embedded, second_speaks},
     answered,
     tear_down},
    {"outboxes, no driver",
     outboxes_full,
     {send_first, send_second, both_take},
     first_two_ended,
     tear_down},
    {"outboxes, driven",
     outboxes_full,
     {send_first, drive, both_take},
     driven_and_first_ended,
     tear_down},
    {"drain", two_that_take, {drain, publish_and_flush, send_first}, first_two_ended, tear_down},
    {"two flushes",
     two_that_take,
     {publish_and_flush, publish_and_flush},
     first_two_ended,
     tear_down},
    {"a flush beside a turn",
     two_that_take,
     {publish_and_flush, drive_once, publish_and_flush},
     first_two_ended,
     tear_down},
    {"connections",
     first_takes_nothing,
     {wait_three, publish, third_calls},
     first_ended,
     tear_down},
    {"closing, no driver", two_that_take, {close_and_wait, close_and_wait}, closed, tear_down},
    {"closing, driven", two_that_take, {close_and_wait, drive}, closed, tear_down},
    {"closing beside a wait",
     first_takes_nothing,
     {publish, close_and_wait},
     first_ended,
     tear_down},
};
enum { SCENES = sizeof scenes / sizeof *scenes };

static void no_order_leaves_a_thread_asleep(void) {
  size_t orders = 0;
  for (int i = 0; i < SCENES; i++) {
    size_t more = steps_explore(&scenes[i], PREEMPTIONS_MAX, true);
    printf("%-34s %zu\n", scenes[i].name, more);
    fflush(stdout);
    CHECK(more > 0);
    orders += more;
  }
  CHECK(orders > 1000);
}

/* ---- Without one of its lines the protocol does not hold ---- */

typedef struct protocol_line {
  const char *name;
  size_t place; /* in the reactor, of a store that is lost; 0: none */
  kernel_fault fault;
} protocol_line;

static const protocol_line lines[] = {
    {"asleep is stored", offsetof(fs_reactor, asleep), KERNEL_WORKS},
    {"asked is stored", offsetof(fs_reactor, asked), KERNEL_WORKS},
    {"flush_wanted is stored", offsetof(fs_reactor, flush_wanted), KERNEL_WORKS},
    {"leaving is counted", offsetof(fs_reactor, leaving), KERNEL_WORKS},
    {"turn_wanted is counted", offsetof(fs_reactor, turn_wanted), KERNEL_WORKS},
    {"room_wanted is stored", offsetof(fs_reactor, room_wanted), KERNEL_WORKS},
    {"waiters are counted", offsetof(fs_reactor, waiter_count), KERNEL_WORKS},
    {"a thread that sleeps in a turn is woken", 0, KERNEL_FORGETS_NOTIFY},
    {"a thread that waits is told", 0, KERNEL_FORGETS_ROUSE},
    {"a turn that is given back is offered", 0, KERNEL_FORGETS_OFFER},
};

static bool found_without(const protocol_line *line) {
  lost_place = line->place;
  kernel_faulty = line->fault;
  for (int most = 0; most <= PREEMPTIONS_MAX; most++)
    for (int i = 0; i < SCENES; i++)
      if (steps_explore(&scenes[i], most, false) == 0) {
        printf("%-40s %s, %d preemptions\n", line->name, scenes[i].name, most);
        return true;
      }
  fprintf(stderr, "nothing shows whether %s\n", line->name);
  return false;
}

static void each_line_is_needed(void) {
  int found = 0, count = sizeof lines / sizeof *lines;
  for (int i = 0; i < count; i++) found += found_without(&lines[i]);
  CHECK_INT(found, count);
}

CHECK_UNIT(TEST(no_order_leaves_a_thread_asleep), TEST(each_line_is_needed))
