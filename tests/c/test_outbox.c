/* The outbox, against a plain model: an array of the bytes that the connection is to receive. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "check.h"
#include "fault.h"
#include "log/fs_outbox.h"

enum { CAP = 4096, STREAM_MAX = 1 << 17, MARKS_MAX = 64, ROOMY = 1 << 20 };

/* What drain would capture, and how much the connection has received when that is reached. */
typedef struct mark {
  uint64_t head, serial;
  size_t want_len;
} mark;

typedef struct model {
  fs_log log;
  fs_outbox box;
  uint64_t serial, skipped_count, inserted_count;
  uint8_t want[STREAM_MAX], got[STREAM_MAX];
  size_t want_len, got_len;
  mark marks[MARKS_MAX];
  size_t mark_count;
} model;

static model m;

static void begin(size_t bytes_max) {
  memset(&m, 0, sizeof m);
  CHECK_INT(fs_log_init(&m.log, CAP), 0);
  fs_outbox_init(&m.box, &m.log, bytes_max);
}

static void finish(void) {
  fs_outbox_fini(&m.box);
  CHECK_INT(m.box.queued_bytes, 0);
  fs_log_fini(&m.log);
}

static void add_mark(void) {
  mark now = {.head = m.log.head, .serial = m.serial, .want_len = m.want_len};
  if (m.mark_count < MARKS_MAX) m.marks[m.mark_count++] = now;
}

static void want_random(uint8_t *place, size_t len) {
  CHECK(m.want_len + len <= STREAM_MAX);
  for (size_t i = 0; i < len; i++) place[i] = m.want[m.want_len++] = (uint8_t)check_random();
}

/* ---- What may happen to an outbox ---- */

static void log_message(size_t len) {
  uint8_t *place = fs_log_reserve(&m.log, len);
  CHECK(place);
  want_random(place, len);
  fs_log_commit(&m.log, len);
  add_mark();
}

static void log_skipped(size_t len) {
  uint8_t *place = fs_log_reserve(&m.log, len);
  CHECK(place);
  memset(place, 0xee, len);
  CHECK_INT(fs_outbox_skip(&m.box, len, ++m.serial), 0);
  fs_log_commit(&m.log, len);
  m.skipped_count++;
  add_mark();
}

static fs_insert *new_insert(size_t len) {
  fs_insert *insert = malloc(sizeof *insert + len);
  *insert = (fs_insert){0};
  insert->len = len;
  memset(insert->data, 0xdd, len);
  return insert;
}

static void insert_message(size_t len) {
  fs_insert *insert = new_insert(len);
  want_random(insert->data, len);
  CHECK_INT(fs_outbox_insert(&m.box, insert, ++m.serial), 0);
  m.inserted_count++;
  add_mark();
}

static void check_marks(void) {
  for (size_t i = 0; i < m.mark_count; i++) {
    bool reached = fs_outbox_reached(&m.box, m.marks[i].head, m.marks[i].serial);
    if (reached) CHECK(m.got_len >= m.marks[i].want_len);
    /* Only skips may keep it from being reached; they go with the next advance. */
    if (m.got_len > m.marks[i].want_len) CHECK(reached);
  }
}

/* Gathers at most max bytes in iov_count ranges; the kernel takes what limit allows. False when
 * there was nothing. between: happens while the kernel has the bytes. */
static bool send_some(size_t max, int iov_count, size_t limit, void (*between)(void)) {
  struct iovec iov[64];
  size_t total, sum = 0, taken = 0;
  int used = fs_outbox_gather(&m.box, m.log.head, max, iov, iov_count, &total);
  CHECK(used <= iov_count && total <= max);
  for (int i = 0; i < used; i++) {
    size_t part = fs_min(iov[i].iov_len, limit - taken);
    CHECK(iov[i].iov_len > 0 && m.got_len + part <= STREAM_MAX);
    memcpy(m.got + m.got_len, iov[i].iov_base, part);
    m.got_len += part;
    taken += part;
    sum += iov[i].iov_len;
  }
  CHECK_INT(sum, total);
  if (between) between();
  fs_outbox_advance(&m.box, taken);
  check_marks();
  return used > 0;
}

static void check_all_sent(void) {
  CHECK_BYTES(m.got, m.got_len, m.want, m.want_len);
  CHECK_INT(m.box.cursor, fs_min(m.log.head, m.box.end));
  CHECK_INT(m.box.count, 0);
  CHECK_INT(m.box.queued_bytes, 0);
  CHECK_INT(m.box.skipped_count, m.skipped_count);
  CHECK_INT(m.box.inserted_count, m.inserted_count);
  for (size_t i = 0; i < m.mark_count; i++)
    CHECK(fs_outbox_reached(&m.box, m.marks[i].head, m.marks[i].serial));
}

static void send_all(size_t max, int iov_count, size_t limit) {
  while (send_some(max, iov_count, limit, NULL)) continue;
  check_all_sent();
}

/* ---- Every short row of events, sent in every way ---- */

static void act(int what, size_t len) {
  if (what == 0) log_message(len);
  if (what == 1) log_skipped(len);
  if (what == 2) insert_message(len);
}

static void every_row_of_six(void) {
  static const struct {
    size_t max;
    int iov_count;
    size_t limit;
  } ways[] = {{4096, 64, 4096}, {4096, 64, 1}, {4096, 1, 4096}, {1, 64, 1},
              {4096, 2, 3},     {7, 3, 5},     {5, 64, 7},      {4096, 64, 11}};
  for (int row = 0; row < 3 * 3 * 3 * 3 * 3 * 3; row++)
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
      begin(ROOMY);
      for (int i = 0, rest = row; i < 6; i++, rest /= 3) act(rest % 3, 3 + (size_t)i);
      send_all(ways[way].max, ways[way].iov_count, ways[way].limit);
      finish();
    }
}

/* The same with one send in between, of every length. */
static void every_row_of_four_interrupted(void) {
  for (int row = 0; row < 3 * 3 * 3 * 3; row++)
    for (int after = 1; after < 4; after++)
      for (size_t limit = 0; limit <= 22; limit++) {
        begin(ROOMY);
        for (int i = 0, rest = row; i < 4; i++, rest /= 3) {
          if (i == after) send_some(4096, 64, limit, NULL);
          act(rest % 3, 4 + (size_t)i);
        }
        send_all(4096, 64, 4096);
        finish();
      }
}

static void meanwhile(void) { act((int)(check_random() % 3), 1 + check_random() % 40); }

static void long_random_run(void) {
  begin(ROOMY);
  while (m.want_len < STREAM_MAX - 200) {
    if (m.log.head - m.log.tail < CAP - 200 && m.log.head_seq - m.log.tail_seq < 60)
      act((int)(check_random() % 3), 1 + check_random() % 90);
    else
      send_some(4096, 64, 4096, NULL);
    if (check_random() % 3 == 0)
      send_some(1 + check_random() % 500, 1 + (int)(check_random() % 5), check_random() % 300,
                m.log.head_seq - m.log.tail_seq < 60 ? meanwhile : NULL);
    fs_log_trim(&m.log, m.box.cursor);
  }
  send_all(4096, 64, 4096);
  finish();
}

/* ---- Edits ---- */

static void adjacent_skips_are_one_edit(void) {
  begin(ROOMY);
  log_message(5);
  for (int i = 0; i < 20; i++) log_skipped(7);
  CHECK_INT(m.box.count, 1);
  log_message(5);
  log_skipped(7);
  CHECK_INT(m.box.count, 2);
  insert_message(3);
  log_skipped(7);
  CHECK_INT(m.box.count, 4);
  send_all(4096, 64, 4096);
  /* Passed skips are no neighbours any more. */
  log_skipped(7);
  CHECK_INT(m.box.count, 1);
  send_all(4096, 64, 4096);
  finish();
}

/* A skip that the cursor stands at may still grow. */
static void skip_grows_while_it_is_next(void) {
  begin(ROOMY);
  log_message(5);
  log_skipped(7);
  CHECK(send_some(4096, 1, 4, NULL));
  log_skipped(9);
  CHECK_INT(m.box.count, 1);
  log_message(5);
  send_all(4096, 64, 4096);
  finish();
}

/* After the end of the stream nothing of the log is for this connection. */
static void nothing_behind_the_end(void) {
  for (int last = 0; last < 3; last++)
    for (size_t limit = 1; limit < 40; limit++) {
      begin(ROOMY);
      log_message(10);
      insert_message(10);
      act(last, 10);
      m.box.end = m.log.head;
      uint8_t *place = fs_log_reserve(&m.log, 100);
      memset(place, 0xcc, 100);
      fs_log_commit(&m.log, 100);
      CHECK(!fs_outbox_reached(&m.box, m.log.head, m.serial));
      send_all(4096, 64, limit);
      CHECK(fs_outbox_reached(&m.box, m.log.head, m.serial));
      finish();
    }
}

static void ring_grows_wherever_it_begins(void) {
  for (size_t first = 0; first < 9; first++) {
    begin(ROOMY);
    insert_message(2);
    for (size_t i = 0; i < first; i++) {
      insert_message(2);
      CHECK(send_some(2, 64, 2, NULL));
    }
    for (size_t i = 0; i < 40; i++) {
      insert_message(1 + i);
      if (i % 3 == 0) CHECK(send_some(4096, 64, 1, NULL));
    }
    send_all(4096, 64, 50);
    finish();
  }
}

/* An idle connection, whatever it has been through, holds nothing for edits. */
static void no_edits_no_ring(void) {
  begin(ROOMY);
  for (int i = 0; i < 40; i++) insert_message(3);
  log_skipped(10);
  send_all(4096, 64, 4096);
  CHECK(!m.box.edits && m.box.cap == 0);
  uint64_t lost;
  log_message(100);
  CHECK_INT(fs_outbox_jump(&m.box, m.log.head, NULL, &lost), 0);
  CHECK_INT(lost, 1);
  CHECK(!m.box.edits && m.box.cap == 0);
  finish();
}

static void what_is_left_is_dropped(void) {
  begin(ROOMY);
  for (int i = 0; i < 10; i++) {
    insert_message(30);
    log_skipped(20);
  }
  CHECK(send_some(4096, 64, 45, NULL));
  finish();
}

/* ---- Limits ---- */

static void bytes_max(void) {
  size_t edit = sizeof(fs_edit);
  begin(3 * edit + 30);
  insert_message(10);
  CHECK(fs_outbox_has_room(&m.box, edit + 20));
  CHECK(!fs_outbox_has_room(&m.box, edit + 21));
  insert_message(20);
  fs_insert *one = new_insert(1);
  CHECK_INT(fs_outbox_insert(&m.box, one, 99), FS_EOUTBOX);
  CHECK_INT(m.box.count, 2);
  log_skipped(100);
  /* Full; but a skip that merges takes no room. */
  CHECK_INT(m.box.queued_bytes, m.box.bytes_max);
  log_skipped(100);
  log_message(1);
  CHECK_INT(fs_outbox_skip(&m.box, 5, 99), FS_EOUTBOX);
  CHECK_INT(m.box.count, 3);
  /* Room comes with the last byte of a message. */
  CHECK(send_some(9, 64, 9, NULL));
  CHECK_INT(fs_outbox_insert(&m.box, one, 99), FS_EOUTBOX);
  CHECK(send_some(1, 64, 1, NULL));
  CHECK(fs_outbox_has_room(&m.box, 10));
  free(one);
  insert_message(10);
  send_all(4096, 64, 4096);
  finish();
}

static void no_memory(void) {
  int failures = 0;
  begin(ROOMY);
  for (int queued = 0; queued < 70; queued++) {
    fs_insert *insert = new_insert(10);
    size_t queued_bytes = m.box.queued_bytes;
    fault_plan(FAULT_malloc, 1, 1, ENOMEM);
    fault_on();
    int result = fs_outbox_insert(&m.box, insert, 1);
    fault_off();
    CHECK_INT(result, fault_hits() ? -ENOMEM : 0);
    if (result == 0) continue;
    failures++;
    CHECK_INT(m.box.queued_bytes, queued_bytes);
    CHECK_INT(m.box.count, queued);
    fault_plan(FAULT_malloc, 1, 1, ENOMEM);
    fault_on();
    CHECK_INT(fs_outbox_skip(&m.box, 1, 1), -ENOMEM);
    fault_off();
    CHECK_INT(m.box.count, queued);
    CHECK_INT(fs_outbox_insert(&m.box, insert, 1), 0);
  }
  /* The ring has grown to 4, 8, 16, 32, 64 and 128 edits. */
  CHECK_INT(failures, 6);
  finish();
}

CHECK_UNIT(TEST(every_row_of_six), TEST(every_row_of_four_interrupted), TEST(long_random_run),
           TEST(adjacent_skips_are_one_edit), TEST(skip_grows_while_it_is_next),
           TEST(nothing_behind_the_end), TEST(ring_grows_wherever_it_begins),
           TEST(no_edits_no_ring), TEST(what_is_left_is_dropped), TEST(bytes_max), TEST(no_memory))
