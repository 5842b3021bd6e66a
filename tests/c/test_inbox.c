#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fault.h"
#include "engine/fs_inbox.h"

static uint8_t bytes[1 << 16];

static void fill_bytes(void) {
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)check_random();
}

static void grows_and_keeps_its_bytes(void) {
  static const size_t pieces[] = {1, 2, 3, 255, 256, 257, 1000, 4096};
  fill_bytes();
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
    fs_inbox *inbox = NULL;
    for (size_t at = 0; at + pieces[i] <= sizeof bytes / 4; at += pieces[i]) {
      CHECK_INT(fs_inbox_push(&inbox, bytes + at, pieces[i]), 0);
      CHECK_INT(inbox->len, at + pieces[i]);
      /* Doubling: never more than twice what is needed, but for the first block. */
      CHECK(inbox->cap >= inbox->len && inbox->cap <= fs_max(2 * inbox->len, (size_t)256));
    }
    CHECK_BYTES(inbox->data, inbox->len, bytes, inbox->len);
    free(inbox);
  }
}

static void nothing_costs_nothing(void) {
  fs_inbox *inbox = NULL, *retired = NULL;
  CHECK_INT(fs_inbox_push(&inbox, bytes, 0), 0);
  CHECK(!inbox);
  fs_inbox_retire(&inbox, &retired);
  CHECK(!retired);
  fs_inbox_free_all(&retired);
}

static void retired_blocks_stay_readable(void) {
  fs_inbox *inbox = NULL, *retired = NULL;
  const uint8_t *data[3];
  fill_bytes();
  for (size_t i = 0; i < 3; i++) {
    CHECK_INT(fs_inbox_push(&inbox, bytes + i, 300), 0);
    data[i] = inbox->data;
    fs_inbox_retire(&inbox, &retired);
    CHECK(!inbox);
  }
  for (size_t i = 0; i < 3; i++) CHECK_BYTES(data[i], 300, bytes + i, 300);
  fs_inbox_free_all(&retired);
  CHECK(!retired);
}

static void no_memory(void) {
  fs_inbox *inbox = NULL;
  fill_bytes();
  fault_plan(FAULT_realloc, 1, 1, ENOMEM);
  fault_on();
  CHECK_INT(fs_inbox_push(&inbox, bytes, 10), -ENOMEM);
  CHECK(!inbox);
  CHECK_INT(fs_inbox_push(&inbox, bytes, 10), 0);
  fault_plan(FAULT_realloc, 1, 1, ENOMEM);
  CHECK_INT(fs_inbox_push(&inbox, bytes + 10, 1000), -ENOMEM);
  CHECK_BYTES(inbox->data, inbox->len, bytes, 10);
  CHECK_INT(fs_inbox_push(&inbox, bytes + 10, 1000), 0);
  CHECK_BYTES(inbox->data, inbox->len, bytes, 1010);
  fault_off();
  free(inbox);
}

CHECK_UNIT(TEST(grows_and_keeps_its_bytes), TEST(nothing_costs_nothing),
           TEST(retired_blocks_stay_readable), TEST(no_memory))
