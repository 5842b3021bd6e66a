/* An outbox whose reader loses its oldest messages, or leaves a channel and comes back: against a
 * list of messages, each of which is whole with the peer, on its way, lost, or still to come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "check.h"
#include "fault.h"
#include "log/fs_outbox.h"

enum { CAP = 4096, ITEMS_MAX = 4000, STREAM_MAX = 1 << 18 };

typedef struct item {
  uint64_t at; /* in the log */
  bool inserted, hidden, lost;
  uint8_t len, mark;
} item;

static struct {
  fs_log log;
  fs_outbox box;
  item items[ITEMS_MAX];
  size_t count;
  uint8_t got[STREAM_MAX];
  size_t got_len;
  uint64_t serial, lost_count;
} m;

static void begin(void) {
  memset(&m, 0, sizeof m);
  CHECK_INT(fs_log_init(&m.log, CAP), 0);
  fs_outbox_init(&m.box, &m.log, 1 << 20);
}

static item *add_item(bool inserted, bool hidden) {
  CHECK(m.count < ITEMS_MAX);
  item *one = &m.items[m.count++];
  *one = (item){.at = m.log.head, .inserted = inserted, .hidden = hidden};
  one->len = (uint8_t)(1 + check_random() % 60);
  one->mark = (uint8_t)(1 + m.count % 255);
  return one;
}

/* A message of the log, which is for this reader or hidden from it. */
static void log_one(bool skipped) {
  bool away = atomic_load(&m.box.end) != UINT64_MAX;
  uint8_t *place = fs_log_reserve(&m.log, 60);
  if (!place) return;
  const item *one = add_item(false, skipped || away);
  memset(place, one->mark, one->len);
  if (skipped && !away) CHECK_INT(fs_outbox_skip(&m.box, one->len, ++m.serial), 0);
  fs_log_commit(&m.log, one->len);
}

static void insert_one(void) {
  if (atomic_load(&m.box.end) != UINT64_MAX) return;
  const item *one = add_item(true, false);
  fs_insert *insert = malloc(sizeof *insert + one->len);
  *insert = (fs_insert){0};
  insert->len = one->len;
  memset(insert->data, one->mark, one->len);
  CHECK_INT(fs_outbox_insert(&m.box, insert, ++m.serial), 0);
}

static void send_some(size_t limit) {
  struct iovec iov[8];
  size_t total, taken = 0;
  int used = fs_outbox_gather(&m.box, m.log.head, 4096, iov, 8, &total);
  for (int i = 0; i < used; i++) {
    size_t part = fs_min(iov[i].iov_len, limit - taken);
    memcpy(m.got + m.got_len, iov[i].iov_base, part);
    m.got_len += part;
    taken += part;
  }
  fs_outbox_advance(&m.box, taken);
}

/* What the peer is to have in the end; sets of each message whether some of it is there now. */
static size_t wanted(uint8_t *want, bool *begun) {
  size_t len = 0;
  for (size_t i = 0; i < m.count; i++) {
    const item *one = &m.items[i];
    if (one->hidden || one->lost) continue;
    begun[i] = len < m.got_len;
    memset(want + len, one->mark, one->len);
    len += one->len;
  }
  return len;
}

static void jump(void) {
  static uint8_t want[STREAM_MAX];
  bool begun[ITEMS_MAX] = {false};
  uint64_t target = fs_min(fs_log_newest_half(&m.log), atomic_load(&m.box.end)), lost, expected = 0;
  wanted(want, begun);
  for (size_t i = 0; i < m.count; i++) {
    item *one = &m.items[i];
    if (one->inserted || one->hidden || one->lost || begun[i] || one->at >= target) continue;
    one->lost = true;
    expected++;
  }
  CHECK_INT(fs_outbox_jump(&m.box, target, NULL, &lost), 0);
  CHECK_INT(lost, expected);
  m.lost_count += lost;
}

/* Leaves, or comes back. */
static void go_or_come(void) {
  if (atomic_load(&m.box.end) == UINT64_MAX)
    atomic_store(&m.box.end, m.log.head);
  else
    CHECK_INT(fs_outbox_resume(&m.box, ++m.serial), 0);
}

static void finish(void) {
  static uint8_t want[STREAM_MAX];
  bool begun[ITEMS_MAX];
  uint64_t shown = 0;
  while (m.box.cursor < fs_min(m.log.head, atomic_load(&m.box.end)) || m.box.count) send_some(4096);
  size_t len = wanted(want, begun);
  CHECK_BYTES(m.got, m.got_len, want, len);
  for (size_t i = 0; i < m.count; i++) shown += !m.items[i].hidden && !m.items[i].lost;
  if (atomic_load(&m.box.end) == UINT64_MAX) CHECK_INT(fs_outbox_sent_count(&m.box), shown);
  CHECK_INT(m.box.dropped_count, m.lost_count);
  CHECK_INT(m.box.queued_bytes, 0);
  fs_outbox_fini(&m.box);
  fs_log_fini(&m.log);
}

static void play(int rounds, int jumps, int leaves) {
  begin();
  for (int i = 0; i < rounds; i++) {
    uint32_t what = check_random() % 10;
    if (what < 5) log_one(false);
    if (what == 5 || what == 6) log_one(true);
    if (what == 7) insert_one();
    if (what >= 8) send_some(check_random() % 200);
    if (check_random() % 100 < (uint32_t)jumps) jump();
    if (check_random() % 100 < (uint32_t)leaves) go_or_come();
    size_t rest = fs_outbox_message_rest(&m.box);
    CHECK(rest < 60);
    fs_log_trim(&m.log, m.box.cursor);
  }
  finish();
}

static void losing_the_oldest(void) {
  for (int i = 0; i < 100; i++) play(1 + i * 10, 5, 0);
  for (int i = 0; i < 20; i++) play(1000, 50, 0);
}

static void leaving_and_coming_back(void) {
  for (int i = 0; i < 100; i++) play(1 + i * 10, 0, 10);
}

static void both_at_once(void) {
  for (int i = 0; i < 100; i++) play(1000, 5, 5);
}

/* Without memory nothing changes, and the next time works. */
static void no_memory(void) {
  for (int nth = 1; nth <= 2; nth++) {
    uint64_t lost, cursor, rest;
    begin();
    for (int i = 0; i < 60; i++) log_one(i % 7 == 0);
    insert_one();
    while ((rest = fs_outbox_message_rest(&m.box)) == 0) send_some(2);
    cursor = m.box.cursor;
    fault_plan(FAULT_malloc, nth, 1, ENOMEM);
    fault_on();
    CHECK_INT(fs_outbox_jump(&m.box, fs_log_newest_half(&m.log), NULL, &lost), -ENOMEM);
    fault_off();
    CHECK_INT(m.box.cursor, cursor);
    CHECK_INT(fs_outbox_message_rest(&m.box), rest);
    jump();
    finish();
  }
}

/* What the peer is to have, in order. */
static struct {
  uint8_t data[STREAM_MAX];
  size_t len;
} due;

static void expect_text(const char *text) {
  memcpy(due.data + due.len, text, strlen(text));
  due.len += strlen(text);
}

static void expect_items(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    memset(due.data + due.len, m.items[i].mark, m.items[i].len);
    due.len += m.items[i].len;
  }
}

/* Loses what comes before the item of that number, and tells it. */
static void jump_telling(size_t number, uint64_t expected) {
  const fs_notice notice = {.codec = &fs_codec_line,
                            .before = {(const uint8_t *)"lost ", 5},
                            .after = {(const uint8_t *)" of it", 6},
                            .counts = true};
  uint64_t lost;
  CHECK_INT(fs_outbox_jump(&m.box, m.items[number].at, &notice, &lost), 0);
  CHECK_INT(lost, expected);
}

static void begin_telling(void) {
  begin();
  memset(&due, 0, sizeof due);
  for (int i = 0; i < 40; i++) log_one(false);
}

static void finish_telling(void) {
  while (m.box.cursor < m.log.head || m.box.count) send_some(4096);
  CHECK_BYTES(m.got, m.got_len, due.data, due.len);
  CHECK_INT(m.box.queued_bytes, 0);
  fs_outbox_fini(&m.box);
  fs_log_fini(&m.log);
}

/* A notice that has not gone out tells what was lost since; one that has begun stays as it is. */
static void notices_merge(void) {
  begin_telling();
  jump_telling(5, 5);
  jump_telling(12, 7);
  send_some(3);
  jump_telling(20, 8);
  jump_telling(29, 9);
  expect_text("lost 12 of it\nlost 17 of it\n");
  expect_items(29, 40);
  finish_telling();
}

/* A message that has begun comes whole before the notice, also if there are more jumps. */
static void notices_come_behind_a_message_that_has_begun(void) {
  size_t begun = 0;
  begin_telling();
  while (fs_outbox_message_rest(&m.box) == 0) send_some(1);
  for (size_t len = m.items[0].len; len < m.got_len; len += m.items[++begun].len) continue;
  jump_telling(20, 20 - begun - 1);
  jump_telling(30, 10);
  expect_items(0, begun + 1);
  char text[40];
  snprintf(text, sizeof text, "lost %zu of it\n", 30 - begun - 1);
  expect_text(text);
  expect_items(30, 40);
  finish_telling();
}

/* Messages of the connection's own stay in order between the notices. */
static void notices_and_own_messages(void) {
  begin_telling();
  jump_telling(10, 10);
  insert_one();
  jump_telling(35, 25);
  expect_text("lost 35 of it\n");
  expect_items(35, 41);
  finish_telling();
}

CHECK_UNIT(TEST(losing_the_oldest), TEST(leaving_and_coming_back), TEST(both_at_once),
           TEST(no_memory), TEST(notices_merge), TEST(notices_come_behind_a_message_that_has_begun),
           TEST(notices_and_own_messages))
