#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"
#include "fault.h"
#include "io/fs_poll.h"
#include "io/fs_sys.h"
#include "io/fs_sys_linux.h"

enum { SECOND_NS = 1000000000 };

/* Whether the kernel is one without epoll_pwait2. */
static int lacking;

static void open_poll(fs_poll *poll) {
  fault_plan(FAULT_epoll_pwait2, 1, 1, lacking);
  if (lacking) fault_on();
  CHECK_INT(fs_poll_init(poll), 0);
  fault_off();
  CHECK_INT(poll->timer_fd >= 0, lacking != 0);
}

static void open_pair(int pair[2]) {
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
}

/* What the next wait says of tag, all of its reports together; 0 for none. */
static uint32_t reported(fs_poll *poll, uint64_t tag) {
  uint32_t what = 0;
  int count = fs_poll_wait(poll, 0);
  CHECK(count >= 0);
  for (int i = 0; i < count; i++)
    if (poll->ready[i].tag == tag) what |= poll->ready[i].what;
  return what;
}

static void a_change_is_reported_once(void) {
  fs_poll poll;
  int pair[2];
  char byte;
  open_poll(&poll);
  open_pair(pair);
  CHECK_INT(send(pair[1], "x", 1, 0), 1);
  /* Also what was so before it was added. */
  CHECK_INT(fs_poll_add(&poll, pair[0], 7), 0);
  CHECK_INT(reported(&poll, 7), FS_POLL_IN | FS_POLL_OUT);
  CHECK_INT(reported(&poll, 7), 0);
  CHECK_INT(recv(pair[0], &byte, 1, 0), 1);
  CHECK_INT(reported(&poll, 7), 0);
  CHECK_INT(send(pair[1], "y", 1, 0), 1);
  CHECK(reported(&poll, 7) & FS_POLL_IN);
  fs_sys_close(pair[0]);
  fs_sys_close(pair[1]);
  fs_poll_fini(&poll);
}

static void writable_again(void) {
  fs_poll poll;
  int pair[2];
  static char bytes[1 << 16];
  open_poll(&poll);
  open_pair(pair);
  CHECK_INT(fs_poll_add(&poll, pair[0], 7), 0);
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  while (fs_sys_send(pair[0], bytes, sizeof bytes) > 0) continue;
  CHECK_INT(reported(&poll, 7), 0);
  while (fs_sys_recv(pair[1], bytes, sizeof bytes) > 0) continue;
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  fs_sys_close(pair[0]);
  fs_sys_close(pair[1]);
  fs_poll_fini(&poll);
}

static void the_end_of_the_peer(void) {
  fs_poll poll;
  int pair[2];
  open_poll(&poll);
  open_pair(pair);
  CHECK_INT(fs_poll_add(&poll, pair[0], 7), 0);
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  CHECK_INT(fs_sys_shutdown_write(pair[1]), 0);
  CHECK(reported(&poll, 7) & FS_POLL_HUP);
  fs_sys_close(pair[1]);
  CHECK(reported(&poll, 7) & FS_POLL_HUP);
  fs_sys_close(pair[0]);
  CHECK_INT(reported(&poll, 7), 0);
  fs_poll_fini(&poll);
}

/* A counter that is never read still reports every notify. */
static void wake_up(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  open_poll(&poll);
  CHECK_INT(fs_poll_add(&poll, fd, UINT64_MAX), 0);
  CHECK_INT(reported(&poll, UINT64_MAX) & FS_POLL_IN, 0);
  for (int i = 0; i < 5; i++) {
    fs_sys_notify(fd);
    CHECK(reported(&poll, UINT64_MAX) & FS_POLL_IN);
    CHECK_INT(reported(&poll, UINT64_MAX), 0);
  }
  fs_sys_close(fd);
  fs_poll_fini(&poll);
}

static void alarm_clock(void) {
  fs_poll poll;
  int fd = fs_sys_timerfd();
  open_poll(&poll);
  CHECK_INT(fs_poll_add(&poll, fd, 9), 0);
  for (int i = 0; i < 3; i++) {
    /* A time that is over rings at once; one that is disarmed never does. */
    fs_sys_timer_set(fd, fs_sys_now_ns());
    CHECK_INT(fs_poll_wait(&poll, SECOND_NS), 1);
    CHECK_INT(poll.ready[0].tag, 9);
    fs_sys_timer_set(fd, fs_sys_now_ns() + (uint64_t)3600 * SECOND_NS);
    fs_sys_timer_set(fd, 0);
    CHECK_INT(fs_poll_wait(&poll, 0), 0);
  }
  fs_sys_close(fd);
  fs_poll_fini(&poll);
}

/* Never too short, and not by a millisecond too long if it is short. */
static void timeout(void) {
  static const int64_t timeouts_ns[] = {1, 100000, 20000000, 110000000};
  fs_poll poll;
  open_poll(&poll);
  for (size_t i = 0; i < sizeof timeouts_ns / sizeof *timeouts_ns; i++) {
    uint64_t begun_ns = fs_sys_now_ns();
    CHECK_INT(fs_poll_wait(&poll, timeouts_ns[i]), 0);
    CHECK(fs_sys_now_ns() - begun_ns >= (uint64_t)timeouts_ns[i]);
  }
  fs_poll_fini(&poll);
}

/* Of many short waits most are shorter than the millisecond that epoll_wait counts in. */
static void a_short_timeout(void) {
  enum { WAITS = 50, WAIT_NS = 50000 };
  fs_poll poll;
  int short_count = 0;
  open_poll(&poll);
  for (int i = 0; i < WAITS; i++) {
    uint64_t begun_ns = fs_sys_now_ns();
    CHECK_INT(fs_poll_wait(&poll, WAIT_NS), 0);
    short_count += fs_sys_now_ns() - begun_ns < 900000;
  }
  CHECK(short_count > 0);
  fs_poll_fini(&poll);
}

/* The end of a short wait, which something else has ended, does not end a later one. */
static void a_timeout_that_is_over(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  open_poll(&poll);
  CHECK_INT(fs_poll_add(&poll, fd, 5), 0);
  CHECK(reported(&poll, 5) & FS_POLL_OUT);
  static const int64_t later_ns[] = {0, 30000000, 110000000};
  for (size_t i = 0; i < sizeof later_ns / sizeof *later_ns; i++) {
    fs_sys_notify(fd);
    CHECK_INT(fs_poll_wait(&poll, 1000000), 1);
    struct timespec pause = {.tv_nsec = 2000000};
    nanosleep(&pause, NULL);
    uint64_t begun_ns = fs_sys_now_ns();
    CHECK_INT(fs_poll_wait(&poll, later_ns[i]), 0);
    CHECK(fs_sys_now_ns() - begun_ns >= (uint64_t)later_ns[i]);
  }
  fs_sys_close(fd);
  fs_poll_fini(&poll);
}

static void ignore(int number) { (void)number; }

static void a_signal_ends_the_wait(void) {
  fs_poll poll;
  struct sigaction action = {.sa_handler = ignore}, before;
  struct itimerval soon = {.it_value.tv_usec = 10000, .it_interval.tv_usec = 10000}, never = {0};
  open_poll(&poll);
  sigaction(SIGALRM, &action, &before);
  setitimer(ITIMER_REAL, &soon, NULL);
  CHECK_INT(fs_poll_wait(&poll, -1), -EINTR);
  int fd = fs_sys_eventfd();
  CHECK_INT(fs_sys_poll(fd, POLLIN, -1), -EINTR);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &before, NULL);
  fs_sys_close(fd);
  fs_poll_fini(&poll);
}

/* More than one wait can report: each is reported, none twice. */
static void more_than_a_batch(void) {
  enum { COUNT = FS_POLL_BATCH + 100 };
  static int fds[COUNT], seen[COUNT];
  fs_poll poll;
  open_poll(&poll);
  for (int i = 0; i < COUNT; i++) {
    CHECK((fds[i] = fs_sys_eventfd()) >= 0);
    CHECK_INT(fs_poll_add(&poll, fds[i], (uint64_t)i + 1), 0);
  }
  for (int count, total = 0; total < COUNT; total += count) {
    CHECK((count = fs_poll_wait(&poll, 0)) > 0);
    for (int i = 0; i < count; i++) seen[poll.ready[i].tag - 1]++;
  }
  CHECK_INT(fs_poll_wait(&poll, 0), 0);
  for (int i = 0; i < COUNT; i++) {
    CHECK_INT(seen[i], 1);
    fs_sys_close(fds[i]);
  }
  fs_poll_fini(&poll);
}

static void add_and_remove(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  open_poll(&poll);
  CHECK_INT(fs_poll_add(&poll, fd, 1), 0);
  CHECK_INT(fs_poll_add(&poll, fd, 2), -EEXIST);
  fs_poll_remove(&poll, fd);
  fs_poll_remove(&poll, fd);
  fs_sys_notify(fd);
  CHECK_INT(fs_poll_wait(&poll, 0), 0);
  CHECK_INT(fs_poll_add(&poll, fd, 3), 0);
  CHECK(reported(&poll, 3) & FS_POLL_IN);
  fs_sys_close(fd);
  CHECK_INT(fs_poll_add(&poll, fd, 4), -EBADF);
  fs_poll_fini(&poll);
}

static void calls_failing(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  fault_plan(FAULT_epoll_create1, 1, 1, EMFILE);
  fault_on();
  CHECK_INT(fs_poll_init(&poll), -EMFILE);
  CHECK(poll.fd < 0);
  CHECK_INT(fs_poll_init(&poll), 0);
  fault_plan(FAULT_epoll_ctl, 1, 1, ENOSPC);
  CHECK_INT(fs_poll_add(&poll, fd, 1), -ENOSPC);
  CHECK_INT(fs_poll_add(&poll, fd, 1), 0);
  fault_plan(FAULT_epoll_pwait2, 1, 1, EBADF);
  CHECK_INT(fs_poll_wait(&poll, 0), -EBADF);
  fs_poll_fini(&poll);
  fault_off();
  fs_sys_close(fd);
}

static void nothing_in_the_place_of_epoll_pwait2(void) {
  fs_poll poll;
  struct rlimit limit, one_more;
  CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
  one_more = limit;
  one_more.rlim_cur = (rlim_t)dup(0) + 1;
  fs_sys_close((int)one_more.rlim_cur - 1);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &one_more), 0);
  fault_plan(FAULT_epoll_pwait2, 1, 1, ENOSYS);
  fault_on();
  CHECK_INT(fs_poll_init(&poll), -EMFILE);
  fault_off();
  CHECK(poll.fd < 0);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* ---- The same without epoll_pwait2 ---- */

#define WITHOUT(test, error)         \
  static void test##_##error(void) { \
    lacking = error;                 \
    test();                          \
  }

WITHOUT(a_change_is_reported_once, ENOSYS)
WITHOUT(writable_again, EPERM)
WITHOUT(the_end_of_the_peer, ENOSYS)
WITHOUT(wake_up, EPERM)
WITHOUT(alarm_clock, ENOSYS)
WITHOUT(timeout, EPERM)
WITHOUT(a_short_timeout, ENOSYS)
WITHOUT(a_timeout_that_is_over, ENOSYS)
WITHOUT(a_signal_ends_the_wait, ENOSYS)
WITHOUT(more_than_a_batch, ENOSYS)

CHECK_UNIT(TEST(a_change_is_reported_once), TEST(writable_again), TEST(the_end_of_the_peer),
           TEST(wake_up), TEST(alarm_clock), TEST(timeout), TEST(a_short_timeout),
           TEST(a_timeout_that_is_over), TEST(a_signal_ends_the_wait), TEST(more_than_a_batch),
           TEST(add_and_remove), TEST(calls_failing), TEST(nothing_in_the_place_of_epoll_pwait2),
           TEST(a_change_is_reported_once_ENOSYS), TEST(writable_again_EPERM),
           TEST(the_end_of_the_peer_ENOSYS), TEST(wake_up_EPERM), TEST(alarm_clock_ENOSYS),
           TEST(timeout_EPERM), TEST(a_short_timeout_ENOSYS), TEST(a_timeout_that_is_over_ENOSYS),
           TEST(a_signal_ends_the_wait_ENOSYS), TEST(more_than_a_batch_ENOSYS))
