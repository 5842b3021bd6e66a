/* fs_sys_linux.h: the system calls of the engine that other systems do not have.
 *
 * Purpose:   what wakes threads: counters, timers and futexes.
 * Ownership: descriptors are the caller's; each is close-on-exec.
 * Threading: safe from any thread.
 * Limits:    none of its own.
 *
 * Every function returns >= 0 or -errno.
 */
#ifndef FS_SYS_LINUX_H
#define FS_SYS_LINUX_H

#include <stdatomic.h>

#include "base/fs_base.h"

/* A counter that poll sees as readable while it is not zero: notify adds, clear zeroes. */
int fs_sys_eventfd(void);
void fs_sys_notify(int eventfd);
void fs_sys_clear(int eventfd);

/* A timer that poll sees as readable from deadline_ns (CLOCK_MONOTONIC) on; 0 disarms it. */
int fs_sys_timerfd(void);
void fs_sys_timer_set(int timerfd, uint64_t deadline_ns);

/* Sleeps until *told is not 0, and makes it 0: 0. -ETIMEDOUT at deadline_ns (CLOCK_MONOTONIC;
 * UINT64_MAX: never), -EINTR on a signal. Needs no descriptor. */
int fs_sys_await(atomic_uint *told, uint64_t deadline_ns);

/* Wakes the thread that sleeps on told, which the caller has set. */
void fs_sys_rouse(atomic_uint *told);

#endif
