/* fs_timer.h: deadlines of connections.
 *
 * Purpose:   a hashed wheel: adding and removing is O(1) whatever the number of timers.
 * Ownership: a timer lives inside its owner; the wheel owns nothing.
 * Threading: the reactor's.
 * Limits:    a timer never fires early, and late by at most a tick of 1/64 s.
 */
#ifndef FS_TIMER_H
#define FS_TIMER_H

#include "base/fs_base.h"
#include "base/fs_list.h"

enum { FS_WHEEL_SLOTS = 512 };
enum { FS_WHEEL_TICK_NS = 1000000000 / 64 };

typedef struct fs_timer {
  fs_list link;
  uint64_t deadline_ns;
} fs_timer;

typedef struct fs_wheel {
  fs_list slots[FS_WHEEL_SLOTS];
  uint64_t tick;      /* all slots up to this tick have been looked at */
  uint64_t next_tick; /* no timer is due before; UINT64_MAX: there is none */
  uint32_t count;
} fs_wheel;

void fs_wheel_init(fs_wheel *wheel, uint64_t now_ns);
void fs_timer_init(fs_timer *timer);

/* Sets or moves a timer. */
void fs_wheel_set(fs_wheel *wheel, fs_timer *timer, uint64_t deadline_ns);

/* Removing a timer that is not set does nothing. */
void fs_wheel_remove(fs_wheel *wheel, fs_timer *timer);

/* Takes out one timer that is due, or NULL. */
fs_timer *fs_wheel_pop(fs_wheel *wheel, uint64_t now_ns);

/* When to call pop next: not after the first deadline's tick; UINT64_MAX without timers. It may be
 * too early by one timer that was removed since. */
uint64_t fs_wheel_next_ns(const fs_wheel *wheel);

#endif
