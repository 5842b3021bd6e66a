#include <errno.h>
#include <string.h>

#include "check.h"
#include "fault.h"
#include "log/fs_log.h"

enum { CAP = 4096, INDEX_COUNT = CAP / FS_LOG_BYTES_PER_INDEX };

/* What the log holds at an offset, so that every byte can be checked anywhere. */
static uint8_t byte_at(uint64_t offset) { return (uint8_t)((offset * 2654435761u) >> 13); }

/* Appends one message of len such bytes; false when the log is full. */
static bool append(fs_log *log, size_t len) {
  uint64_t head = log->head;
  uint8_t *place = fs_log_reserve(log, len);
  if (!place) return false;
  for (size_t i = 0; i < len; i++) place[i] = byte_at(head + i);
  uint64_t seq = log->head_seq;
  CHECK_INT(fs_log_commit(log, len), seq);
  CHECK_INT(log->head, head + len);
  return true;
}

static void check_content(const fs_log *log, uint64_t from) {
  const uint8_t *bytes = fs_log_at(log, from);
  for (uint64_t offset = from; offset < log->head; offset++)
    CHECK_INT(bytes[offset - from], byte_at(offset));
}

static void many_laps_of_every_message_size(void) {
  fs_log log;
  for (size_t size = 1; size <= 200; size++) {
    CHECK_INT(fs_log_init(&log, CAP), 0);
    for (int round = 0; log.head < 12 * CAP; round++) {
      while (append(&log, size)) continue;
      size_t used = log.head - log.tail;
      CHECK(used + size > CAP || log.head_seq - log.tail_seq == INDEX_COUNT);
      check_content(&log, log.tail);
      check_content(&log, log.tail + used / 2);
      fs_log_trim(&log, log.tail + 1 + (uint64_t)(round * 97) % used);
    }
    fs_log_fini(&log);
  }
}

/* A message at every place where the ring can be split. */
static void seam_at_every_byte_of_a_message(void) {
  fs_log log;
  for (size_t before = CAP - 100; before <= CAP; before++) {
    CHECK_INT(fs_log_init(&log, CAP), 0);
    CHECK(append(&log, before));
    fs_log_trim(&log, before);
    CHECK(append(&log, 100));
    check_content(&log, before);
    fs_log_fini(&log);
  }
}

static void full_by_bytes(void) {
  fs_log log;
  CHECK_INT(fs_log_init(&log, CAP), 0);
  CHECK(!fs_log_reserve(&log, CAP + 1));
  CHECK(append(&log, CAP));
  CHECK(!append(&log, 1));
  fs_log_trim(&log, 10);
  CHECK(!append(&log, 11));
  CHECK(append(&log, 10));
  CHECK(!append(&log, 1));
  check_content(&log, log.tail);
  fs_log_fini(&log);
}

static void full_by_index(void) {
  fs_log log;
  CHECK_INT(fs_log_init(&log, CAP), 0);
  for (int i = 0; i < INDEX_COUNT; i++) CHECK(append(&log, 2));
  CHECK(!append(&log, 2));
  /* The message is there until its last byte is gone. */
  fs_log_trim(&log, 1);
  CHECK(!append(&log, 2));
  fs_log_trim(&log, 2);
  CHECK(append(&log, 2));
  CHECK(!append(&log, 2));
  fs_log_fini(&log);
}

static void trim_keeps_what_is_asked_for(void) {
  fs_log log;
  CHECK_INT(fs_log_init(&log, CAP), 0);
  fs_log_trim(&log, 0);
  for (int i = 0; i < 10; i++) CHECK(append(&log, 10));
  fs_log_trim(&log, 25);
  CHECK_INT(log.tail, 25);
  CHECK_INT(log.tail_seq, 3);
  /* What lies behind the tail is left alone. */
  fs_log_trim(&log, 24);
  CHECK_INT(log.tail, 25);
  CHECK_INT(log.tail_seq, 3);
  fs_log_trim(&log, 30);
  CHECK_INT(log.tail_seq, 4);
  fs_log_trim(&log, 100);
  CHECK_INT(log.tail, 100);
  CHECK_INT(log.tail_seq, log.head_seq);
  fs_log_fini(&log);
}

/* Against tables that say of every byte which message it belongs to, and where the next begins. */
static void seq_at_every_offset(void) {
  enum { LAPS = 5 };
  static uint64_t seq_of[(LAPS + 1) * CAP], end_of[(LAPS + 1) * CAP];
  fs_log log;
  CHECK_INT(fs_log_init(&log, CAP), 0);
  while (log.head < LAPS * CAP) {
    size_t size = 1 + check_random() % 150;
    uint64_t at = log.head, seq = log.head_seq;
    if (append(&log, size)) {
      for (size_t i = 0; i < size; i++) seq_of[at + i] = seq;
      for (size_t i = 0; i < size; i++) end_of[at + i] = i ? at + size : at;
      continue;
    }
    for (uint64_t offset = log.tail; offset < log.head; offset++) {
      CHECK_INT(fs_log_seq_at(&log, offset), seq_of[offset]);
      CHECK_INT(fs_log_boundary_at(&log, offset), end_of[offset]);
    }
    CHECK_INT(fs_log_seq_at(&log, log.head), log.head_seq);
    CHECK_INT(fs_log_boundary_at(&log, log.head), log.head);
    fs_log_trim(&log, log.tail + 1 + check_random() % (log.head - log.tail));
    if (log.tail < log.head) CHECK_INT(log.tail_seq, seq_of[log.tail]);
  }
  fs_log_fini(&log);
}

/* What drop_oldest keeps: whole messages, at most half of the bytes and half of the index. */
static void newest_half(void) {
  for (size_t size = 1; size <= 300; size++) {
    fs_log log;
    CHECK_INT(fs_log_init(&log, CAP), 0);
    CHECK_INT(fs_log_newest_half(&log), 0);
    while (append(&log, size)) {
      uint64_t half = fs_log_newest_half(&log), kept = (log.head - half) / size;
      CHECK_INT(half % size, 0);
      CHECK(log.head - half <= CAP / 2 && kept <= INDEX_COUNT / 2);
      bool all = half == log.tail;
      CHECK(all || (kept + 1) * size > CAP / 2 || kept + 1 > INDEX_COUNT / 2);
    }
    fs_log_fini(&log);
  }
}

static void both_copies_are_the_same_memory(void) {
  fs_log log;
  CHECK_INT(fs_log_init(&log, 4 * CAP), 0);
  for (size_t i = 0; i < 4 * CAP; i++) log.base[i] = byte_at(i);
  CHECK_BYTES(log.base + 4 * CAP, 4 * CAP, log.base, 4 * CAP);
  log.base[4 * CAP] ^= 0xff;
  CHECK_INT(log.base[0], byte_at(0) ^ 0xff);
  fs_log_fini(&log);
}

static void bad_capacity(void) {
  static const size_t bad[] = {0, 1, 64, CAP / 2, CAP - 1, CAP + 1, 3 * CAP, SIZE_MAX};
  fs_log log;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK_INT(fs_log_init(&log, bad[i]), -EINVAL);
  /* Powers of two, but more than there can be. */
  CHECK(fs_log_init(&log, (size_t)1 << 62) < 0);
  CHECK(fs_log_init(&log, (size_t)1 << 63) < 0);
}

static int mapped_count(void) {
  char line[512];
  int count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps)) count += strstr(line, "fastsock-log") != NULL;
  fclose(maps);
  return count;
}

static void every_call_failing(void) {
  static const struct {
    fault_call call;
    int times, error;
  } faults[] = {{FAULT_memfd_create, 1, EMFILE},
                {FAULT_ftruncate, 1, ENOSPC},
                {FAULT_mmap, 3, ENOMEM},
                {FAULT_calloc, 1, ENOMEM}};
  fs_log log;
  int fd_count = check_fd_count();
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    int failures = 0;
    for (int result = -1; result < 0; failures++) {
      fault_plan(faults[i].call, failures + 1, 1, faults[i].error);
      fault_on();
      result = fs_log_init(&log, CAP);
      fault_off();
      CHECK_INT(result, fault_hits() ? -faults[i].error : 0);
      if (result == 0) {
        CHECK(mapped_count() > 0);
        fs_log_fini(&log);
      }
      CHECK_INT(mapped_count(), 0);
      CHECK_INT(check_fd_count(), fd_count);
    }
    CHECK_INT(failures - 1, faults[i].times);
  }
}

CHECK_UNIT(TEST(many_laps_of_every_message_size), TEST(seam_at_every_byte_of_a_message),
           TEST(full_by_bytes), TEST(full_by_index), TEST(trim_keeps_what_is_asked_for),
           TEST(seq_at_every_offset), TEST(newest_half), TEST(both_copies_are_the_same_memory),
           TEST(bad_capacity), TEST(every_call_failing))
