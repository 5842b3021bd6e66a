#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "check.h"
#include "fault.h"
#include "fs_poll.h"
#include "fs_sys.h"

enum { SECOND_NS = 1000000000 };

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
  CHECK_INT(fs_poll_init(&poll), 0);
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
  fs_sys_close(poll.fd);
}

static void writable_again(void) {
  fs_poll poll;
  int pair[2];
  static char bytes[1 << 16];
  CHECK_INT(fs_poll_init(&poll), 0);
  open_pair(pair);
  CHECK_INT(fs_poll_add(&poll, pair[0], 7), 0);
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  while (fs_sys_send(pair[0], bytes, sizeof bytes) > 0) continue;
  CHECK_INT(reported(&poll, 7), 0);
  while (fs_sys_recv(pair[1], bytes, sizeof bytes) > 0) continue;
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  fs_sys_close(pair[0]);
  fs_sys_close(pair[1]);
  fs_sys_close(poll.fd);
}

static void the_end_of_the_peer(void) {
  fs_poll poll;
  int pair[2];
  CHECK_INT(fs_poll_init(&poll), 0);
  open_pair(pair);
  CHECK_INT(fs_poll_add(&poll, pair[0], 7), 0);
  CHECK_INT(reported(&poll, 7), FS_POLL_OUT);
  CHECK_INT(fs_sys_shutdown_write(pair[1]), 0);
  CHECK(reported(&poll, 7) & FS_POLL_HUP);
  fs_sys_close(pair[1]);
  CHECK(reported(&poll, 7) & FS_POLL_HUP);
  fs_sys_close(pair[0]);
  CHECK_INT(reported(&poll, 7), 0);
  fs_sys_close(poll.fd);
}

/* A counter that is never read still reports every notify. */
static void wake_up(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  CHECK_INT(fs_poll_init(&poll), 0);
  CHECK_INT(fs_poll_add(&poll, fd, UINT64_MAX), 0);
  CHECK_INT(reported(&poll, UINT64_MAX) & FS_POLL_IN, 0);
  for (int i = 0; i < 5; i++) {
    fs_sys_notify(fd);
    CHECK(reported(&poll, UINT64_MAX) & FS_POLL_IN);
    CHECK_INT(reported(&poll, UINT64_MAX), 0);
  }
  fs_sys_close(fd);
  fs_sys_close(poll.fd);
}

static void alarm_clock(void) {
  fs_poll poll;
  int fd = fs_sys_timerfd();
  CHECK_INT(fs_poll_init(&poll), 0);
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
  fs_sys_close(poll.fd);
}

static void timeout(void) {
  fs_poll poll;
  CHECK_INT(fs_poll_init(&poll), 0);
  uint64_t begun_ns = fs_sys_now_ns();
  CHECK_INT(fs_poll_wait(&poll, 20000000), 0);
  CHECK(fs_sys_now_ns() - begun_ns >= 20000000);
  fs_sys_close(poll.fd);
}

static void ignore(int number) { (void)number; }

static void a_signal_ends_the_wait(void) {
  fs_poll poll;
  struct sigaction action = {.sa_handler = ignore}, before;
  struct itimerval soon = {.it_value.tv_usec = 10000, .it_interval.tv_usec = 10000}, never = {0};
  CHECK_INT(fs_poll_init(&poll), 0);
  sigaction(SIGALRM, &action, &before);
  setitimer(ITIMER_REAL, &soon, NULL);
  CHECK_INT(fs_poll_wait(&poll, -1), -EINTR);
  int fd = fs_sys_eventfd();
  CHECK_INT(fs_sys_poll(fd, POLLIN, -1), -EINTR);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &before, NULL);
  fs_sys_close(fd);
  fs_sys_close(poll.fd);
}

/* More than one wait can report: each is reported, none twice. */
static void more_than_a_batch(void) {
  enum { COUNT = FS_POLL_BATCH + 100 };
  static int fds[COUNT], seen[COUNT];
  fs_poll poll;
  CHECK_INT(fs_poll_init(&poll), 0);
  for (int i = 0; i < COUNT; i++) {
    CHECK((fds[i] = fs_sys_eventfd()) >= 0);
    CHECK_INT(fs_poll_add(&poll, fds[i], (uint64_t)i), 0);
  }
  for (int count, total = 0; total < COUNT; total += count) {
    CHECK((count = fs_poll_wait(&poll, 0)) > 0);
    for (int i = 0; i < count; i++) seen[poll.ready[i].tag]++;
  }
  CHECK_INT(fs_poll_wait(&poll, 0), 0);
  for (int i = 0; i < COUNT; i++) {
    CHECK_INT(seen[i], 1);
    fs_sys_close(fds[i]);
  }
  fs_sys_close(poll.fd);
}

static void add_and_remove(void) {
  fs_poll poll;
  int fd = fs_sys_eventfd();
  CHECK_INT(fs_poll_init(&poll), 0);
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
  fs_sys_close(poll.fd);
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
  fault_off();
  fs_sys_close(fd);
  fs_sys_close(poll.fd);
}

CHECK_UNIT(TEST(a_change_is_reported_once), TEST(writable_again), TEST(the_end_of_the_peer),
           TEST(wake_up), TEST(alarm_clock), TEST(timeout), TEST(a_signal_ends_the_wait),
           TEST(more_than_a_batch), TEST(add_and_remove), TEST(calls_failing))
