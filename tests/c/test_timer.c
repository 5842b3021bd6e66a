#include <stdlib.h>

#include "check.h"
#include "io/fs_timer.h"

enum { TIMERS = 200 };

#define TICK_NS ((uint64_t)FS_WHEEL_TICK_NS)
#define LAP_NS (TICK_NS * FS_WHEEL_SLOTS)

static fs_wheel wheel;
static fs_timer timers[TIMERS];

static void begin(uint64_t now_ns) {
  fs_wheel_init(&wheel, now_ns);
  for (int i = 0; i < TIMERS; i++) fs_timer_init(&timers[i]);
}

static void nothing_is_due(void) {
  begin(12345);
  CHECK_INT(fs_wheel_next_ns(&wheel), UINT64_MAX);
  CHECK(!fs_wheel_pop(&wheel, 1000 * LAP_NS));
  fs_wheel_remove(&wheel, &timers[0]);
  fs_wheel_set(&wheel, &timers[0], 1001 * LAP_NS);
  fs_wheel_remove(&wheel, &timers[0]);
  CHECK(!fs_wheel_pop(&wheel, 2000 * LAP_NS));
  CHECK_INT(fs_wheel_next_ns(&wheel), UINT64_MAX);
}

/* Never early, late by a tick at most, and each once; popping when next_ns says misses none.
 */
static void check_one(uint64_t now_ns, uint64_t deadline_ns) {
  int pops = 0;
  uint64_t latest_ns = fs_max(deadline_ns, now_ns) + 2 * TICK_NS;
  begin(now_ns);
  fs_wheel_set(&wheel, &timers[0], deadline_ns);
  for (; pops < 1000; pops++) {
    uint64_t next_ns = fs_wheel_next_ns(&wheel);
    CHECK(next_ns <= latest_ns);
    now_ns = fs_max(now_ns, next_ns);
    fs_timer *due = fs_wheel_pop(&wheel, now_ns);
    if (!due) continue;
    CHECK(due == &timers[0] && now_ns >= deadline_ns);
    break;
  }
  /* A wait of many laps costs a look per lap, not more. */
  CHECK(pops < 1000);
  CHECK(!fs_wheel_pop(&wheel, now_ns + 2 * LAP_NS));
}

static void one_timer(void) {
  static const uint64_t waits[] = {0,      1,          TICK_NS - 1, TICK_NS,    TICK_NS + 1,
                                   LAP_NS, LAP_NS - 1, LAP_NS + 1,  5 * LAP_NS, 450 * LAP_NS};
  static const uint64_t nows[] = {0, 1, TICK_NS - 1, TICK_NS, 3 * LAP_NS - 1, 77 * LAP_NS + 5};
  for (size_t i = 0; i < sizeof nows / sizeof *nows; i++)
    for (size_t j = 0; j < sizeof waits / sizeof *waits; j++)
      check_one(nows[i], nows[i] + waits[j]);
  /* One that was due before it was set. */
  check_one(10 * LAP_NS, 7 * TICK_NS);
}

static uint64_t random_ns(uint64_t limit_ns) {
  return ((uint64_t)check_random() << 31 | check_random()) % limit_ns;
}

/* Many, moved and removed at random, against the list of their deadlines. */
static void many_timers(void) {
  static uint64_t deadlines_ns[TIMERS];
  uint64_t now_ns = 3 * LAP_NS;
  begin(now_ns);
  for (int round = 0; round < 20000; round++) {
    uint32_t i = check_random() % TIMERS;
    if (check_random() % 4 == 0) {
      fs_wheel_remove(&wheel, &timers[i]);
      deadlines_ns[i] = 0;
    } else {
      deadlines_ns[i] = now_ns + random_ns(3 * LAP_NS);
      fs_wheel_set(&wheel, &timers[i], deadlines_ns[i]);
    }
    if (check_random() % 8) continue;
    now_ns += check_random() % 100 ? random_ns(4 * TICK_NS) : 2 * LAP_NS;
    for (fs_timer *due; (due = fs_wheel_pop(&wheel, now_ns));) {
      uint64_t *deadline_ns = &deadlines_ns[due - timers];
      CHECK(*deadline_ns > 0 && *deadline_ns <= now_ns);
      *deadline_ns = 0;
    }
    uint32_t count = 0;
    for (int j = 0; j < TIMERS; j++) {
      count += deadlines_ns[j] > 0;
      CHECK(deadlines_ns[j] == 0 || deadlines_ns[j] + TICK_NS > now_ns);
    }
    CHECK_INT(wheel.count, count);
  }
}

CHECK_UNIT(TEST(nothing_is_due), TEST(one_timer), TEST(many_timers))
