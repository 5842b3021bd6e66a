/* A timer hangs in the slot of the tick in which it is due, modulo the number of slots; those that
 * are due laps later are passed over. Timers here have one or two lengths, mostly seconds, and are
 * rarely due, so one level is enough. */
#include "io/fs_timer.h"

/* The first tick whose end is not before the deadline, so that nothing fires early. */
static uint64_t tick_of(uint64_t deadline_ns) {
  return deadline_ns / FS_WHEEL_TICK_NS + (deadline_ns % FS_WHEEL_TICK_NS != 0);
}

void fs_wheel_init(fs_wheel *wheel, uint64_t now_ns) {
  for (int i = 0; i < FS_WHEEL_SLOTS; i++) fs_list_init(&wheel->slots[i]);
  wheel->tick = now_ns / FS_WHEEL_TICK_NS;
  wheel->count = 0;
  wheel->next_tick = UINT64_MAX;
}

void fs_timer_init(fs_timer *timer) { fs_list_init(&timer->link); }

void fs_wheel_set(fs_wheel *wheel, fs_timer *timer, uint64_t deadline_ns) {
  fs_wheel_remove(wheel, timer);
  timer->deadline_ns = deadline_ns;
  uint64_t tick = fs_max(tick_of(deadline_ns), wheel->tick + 1);
  wheel->next_tick = fs_min(wheel->next_tick, tick);
  fs_list_push(&wheel->slots[tick % FS_WHEEL_SLOTS], &timer->link);
  wheel->count++;
}

void fs_wheel_remove(fs_wheel *wheel, fs_timer *timer) {
  if (fs_list_empty(&timer->link)) return;
  fs_list_remove(&timer->link);
  wheel->count--;
}

/* Looks at all timers, but only when the one that was to come next is due or gone. */
static uint64_t find_next_tick(const fs_wheel *wheel) {
  uint64_t next_tick = UINT64_MAX;
  for (int i = 0; i < FS_WHEEL_SLOTS && wheel->count > 0; i++) {
    FS_LIST_EACH(link, &wheel->slots[i]) {
      uint64_t tick = tick_of(fs_container_of(link, fs_timer, link)->deadline_ns);
      next_tick = fs_min(next_tick, fs_max(tick, wheel->tick + 1));
    }
  }
  return next_tick;
}

fs_timer *fs_wheel_pop(fs_wheel *wheel, uint64_t now_ns) {
  uint64_t now_tick = now_ns / FS_WHEEL_TICK_NS;
  if (now_tick < wheel->next_tick) return NULL;
  /* After a long sleep one lap sees every slot. */
  if (now_tick > wheel->tick + FS_WHEEL_SLOTS) wheel->tick = now_tick - FS_WHEEL_SLOTS;
  while (wheel->tick < now_tick && wheel->count > 0) {
    FS_LIST_EACH(link, &wheel->slots[(wheel->tick + 1) % FS_WHEEL_SLOTS]) {
      fs_timer *timer = fs_container_of(link, fs_timer, link);
      if (tick_of(timer->deadline_ns) > now_tick) continue;
      fs_wheel_remove(wheel, timer);
      return timer;
    }
    wheel->tick++;
  }
  wheel->tick = fs_max(wheel->tick, now_tick);
  wheel->next_tick = find_next_tick(wheel);
  return NULL;
}

uint64_t fs_wheel_next_ns(const fs_wheel *wheel) {
  return wheel->next_tick == UINT64_MAX ? UINT64_MAX : wheel->next_tick * FS_WHEEL_TICK_NS;
}
