#include "io/fs_sys_linux.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int fs_sys_eventfd(void) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

void fs_sys_notify(int eventfd) {
  uint64_t one = 1;
  /* The only failure, EAGAIN, means that the counter is far from zero: what notify is for. */
  (void)!write(eventfd, &one, sizeof one);
}

void fs_sys_clear(int eventfd) {
  uint64_t count;
  (void)!read(eventfd, &count, sizeof count);
}

int fs_sys_timerfd(void) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

void fs_sys_timer_set(int timerfd, uint64_t deadline_ns) {
  struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                                         .tv_nsec = deadline_ns % 1000000000}};
  int result = timerfd_settime(timerfd, TFD_TIMER_ABSTIME, &spec, NULL);
  FS_ASSERT(result == 0);
}

/* Unlike a condition variable, a futex hears signals. */
int fs_sys_await(atomic_uint *told, uint64_t deadline_ns) {
  struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                              .tv_nsec = (long)(deadline_ns % 1000000000)};
  while (atomic_exchange(told, 0) == 0) {
    long result =
        syscall(SYS_futex, told, FUTEX_WAIT_BITSET_PRIVATE, 0,
                deadline_ns == UINT64_MAX ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    if (result < 0 && errno != EAGAIN) return -errno;
  }
  return 0;
}

void fs_sys_rouse(atomic_uint *told) {
  (void)syscall(SYS_futex, told, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
