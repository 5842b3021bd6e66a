#include <errno.h>
#include <stdlib.h>

#include "check.h"
#include "fault.h"
#include "engine/fs_conn.h"

/* A record with what only the reactor gives it. */
static fs_conn *open_conn(fs_conns *conns, fs_log *log) {
  fs_addr peer = {.len = sizeof peer.in, .any.sa_family = AF_INET};
  fs_conn *conn = fs_conns_open(conns, -1, &peer);
  if (conn) fs_outbox_init(&conn->main.box, log, 1000);
  return conn;
}

static void release(fs_conns *conns, fs_conn *conn) {
  conn->state = FS_DEAD;
  fs_conns_release(conns, conn);
}

static size_t listed(const fs_conns *conns) {
  size_t count = 0;
  FS_LIST_EACH(link, &conns->all) count++;
  return count;
}

static void a_new_record(void) {
  fs_conns conns;
  fs_log log = {0};
  CHECK_INT(fs_conns_init(&conns, 3), 0);
  fs_conn *conn = open_conn(&conns, &log);
  CHECK(conn);
  CHECK_INT(conn->state, FS_OPEN);
  CHECK_INT(conn->number, 1);
  CHECK(conn->handle != 0);
  CHECK_INT(conns.count, 1);
  CHECK_INT(listed(&conns), 1);
  CHECK(fs_list_empty(&conn->ready_link) && fs_list_empty(&conn->dirty_link));
  CHECK(fs_list_empty(&conn->pending_link) && fs_list_empty(&conn->timer.link));
  CHECK(fs_conns_find(&conns, conn->handle) == conn);
  release(&conns, conn);
  CHECK_INT(listed(&conns), 0);
  fs_conns_fini(&conns);
}

static void table_full(void) {
  enum { MAX = 5 };
  fs_conns conns;
  fs_log log = {0};
  fs_conn *all[MAX];
  CHECK_INT(fs_conns_init(&conns, MAX), 0);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < MAX; i++) CHECK(all[i] = open_conn(&conns, &log));
    for (int i = 0; i < MAX; i++)
      for (int j = 0; j < i; j++) CHECK((uint32_t)all[i]->handle != (uint32_t)all[j]->handle);
    CHECK(!open_conn(&conns, &log));
    CHECK_INT(conns.count, MAX);
    release(&conns, all[2]);
    CHECK(all[2] = open_conn(&conns, &log));
    CHECK_INT(all[2]->number, conns.last_number);
    CHECK(!open_conn(&conns, &log));
    for (int i = 0; i < MAX; i++) release(&conns, all[i]);
    CHECK_INT(conns.count, 0);
  }
  CHECK_INT(conns.last_number, 3 * (MAX + 1));
  fs_conns_fini(&conns);
}

static void stale_handles_name_no_connection(void) {
  enum { ROUNDS = 1000, MAX = 4 };
  static uint64_t stale[ROUNDS];
  fs_conns conns;
  fs_log log = {0};
  fs_conn *live[MAX] = {NULL};
  CHECK_INT(fs_conns_init(&conns, MAX), 0);
  for (int round = 0; round < ROUNDS; round++) {
    fs_conn **place = &live[check_random() % MAX];
    if (*place) release(&conns, *place);
    CHECK(*place = open_conn(&conns, &log));
    CHECK_INT((*place)->number, round + 1);
    stale[round] = (*place)->handle;
    for (int i = 0; i <= round; i++) {
      fs_conn *found = fs_conns_find(&conns, stale[i]);
      CHECK_INT(found ? found->handle : stale[i], stale[i]);
      if (found) CHECK_INT(found->number, i + 1);
    }
    for (int i = 0; i < MAX; i++)
      if (live[i]) CHECK(fs_conns_find(&conns, live[i]->handle) == live[i]);
  }
  for (int i = 0; i < MAX; i++)
    if (live[i]) release(&conns, live[i]);
  for (int i = 0; i < ROUNDS; i++) CHECK(!fs_conns_find(&conns, stale[i]));
  fs_conns_fini(&conns);
}

static void handles_that_never_were(void) {
  fs_conns conns;
  fs_log log = {0};
  CHECK_INT(fs_conns_init(&conns, 2), 0);
  fs_conn *conn = open_conn(&conns, &log);
  const uint64_t never[] = {0,
                            1,
                            2,
                            UINT64_MAX,
                            UINT64_MAX - 2,
                            conn->handle + 1,
                            conn->handle + ((uint64_t)1 << 32),
                            conn->handle & UINT32_MAX};
  for (size_t i = 0; i < sizeof never / sizeof *never; i++) CHECK(!fs_conns_find(&conns, never[i]));
  release(&conns, conn);
  fs_conns_fini(&conns);
}

static void no_memory(void) {
  fs_conns conns;
  fs_log log = {0};
  static const struct {
    fault_call call;
    int nth;
  } faults[] = {{FAULT_calloc, 1}, {FAULT_calloc, 2}, {FAULT_malloc, 1}};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    fault_plan(faults[i].call, faults[i].nth, 1, ENOMEM);
    fault_on();
    CHECK_INT(fs_conns_init(&conns, 8), -ENOMEM);
    fault_off();
  }
  CHECK_INT(fs_conns_init(&conns, 1), 0);
  fault_plan(FAULT_calloc, 1, 1, ENOMEM);
  fault_on();
  CHECK(!open_conn(&conns, &log));
  fault_off();
  /* Nothing was taken: the one slot and the number are still there. */
  CHECK_INT(conns.count, 0);
  fs_conn *conn = open_conn(&conns, &log);
  CHECK(conn);
  CHECK_INT(conn->number, 1);
  release(&conns, conn);
  fs_conns_fini(&conns);
}

CHECK_UNIT(TEST(a_new_record), TEST(table_full), TEST(stale_handles_name_no_connection),
           TEST(handles_that_never_were), TEST(no_memory))
