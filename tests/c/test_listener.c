/* The sockets at which a server is called: several at once, and no descriptor left for a caller. */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "fault.h"
#include "rig.h"

enum { KINDS = 3 };

static const int families[KINDS] = {AF_INET, AF_INET6, AF_UNIX};

/* Connects to an address. */
static int call_at(const fs_addr *addr) {
  int fd = socket(addr->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  CHECK_INT(connect(fd, &addr->any, addr->len), 0);
  return fd;
}

/* Whether the peer has closed, without a word. */
static bool was_refused(int fd) {
  char byte;
  ssize_t received = recv(fd, &byte, 1, MSG_DONTWAIT);
  CHECK(received <= 0);
  return received == 0 || errno != EAGAIN;
}

static void listen_at_all(int fds[KINDS], fs_addr addrs[KINDS]) {
  for (int i = 0; i < KINDS; i++) fds[i] = rig_listen(families[i], &addrs[i]);
}

/* ---- Several ---- */

static void callers_of_all_are_served(void) {
  struct rig rig = {0};
  int fds[KINDS], callers[KINDS];
  fs_addr addrs[KINDS];
  fs_config config = rig_config();
  listen_at_all(fds, addrs);
  CHECK_INT(fs_reactor_new(&rig.reactor, &config, fds, KINDS), 0);
  for (int i = 0; i < KINDS; i++) {
    callers[i] = call_at(&addrs[i]);
    RIG_UNTIL(&rig, rig_count(&rig, FS_CONNECTED) == (size_t)i + 1);
  }
  fs_reactor_close(rig.reactor, false);
  rig_turn(&rig, 0);
  for (int i = 0; i < KINDS; i++) {
    int late = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(late, &addrs[i].any, addrs[i].len) < 0);
    fs_sys_close(late);
    fs_sys_close(callers[i]);
  }
  rig_close(&rig);
}

static void they_take_turns(void) {
  fs_listeners set;
  int fds[KINDS], callers[2 * KINDS];
  fs_addr addrs[KINDS], peer;
  listen_at_all(fds, addrs);
  CHECK_INT(fs_listeners_open(&set, fds, KINDS), 0);
  for (int i = 0; i < 2 * KINDS; i++) callers[i] = call_at(&addrs[i % KINDS]);
  CHECK_INT(fs_listeners_accept(&set, &peer), -EAGAIN);
  for (uint32_t i = 0; i < KINDS + 2; i++) fs_listeners_note(&set, i);
  CHECK_INT(set.ready_count, KINDS);
  for (int i = 0; i < 2 * KINDS; i++) {
    int fd = fs_listeners_accept(&set, &peer);
    CHECK(fd >= 0);
    CHECK_INT(peer.any.sa_family, families[i % KINDS]);
    fs_sys_close(fd);
    fs_sys_close(callers[i]);
  }
  CHECK_INT(fs_listeners_accept(&set, &peer), -EAGAIN);
  CHECK_INT(set.ready_count, 0);
  fs_listeners_close(&set);
  fs_listeners_close(&set);
  CHECK_INT(fs_listeners_accept(&set, &peer), -EAGAIN);
}

static void what_cannot_be_opened_stays_the_callers(void) {
  fs_listeners set;
  fs_addr addr;
  int fd = rig_listen(AF_INET, &addr);
  fault_plan(FAULT_socket, 1, 1, EMFILE);
  fault_on();
  CHECK_INT(fs_listeners_open(&set, &fd, 1), -EMFILE);
  fault_off();
  CHECK_INT(fs_listeners_open(&set, &fd, 0), -EINVAL);
  CHECK_INT(fs_listeners_open(&set, &fd, FS_LISTENERS_MAX + 1), -EINVAL);
  fs_listeners_close(&set);
  fs_sys_close(call_at(&addr));
  fs_sys_close(fd);
}

/* ---- Out of descriptors ---- */

/* No descriptor more than now can be had. Returns what to give back. */
static struct rlimit take_all_descriptors(void) {
  struct rlimit before, now;
  int next = dup(STDERR_FILENO);
  CHECK(next >= 0);
  fs_sys_close(next);
  CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
  now = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &now), 0);
  return before;
}

static void who_finds_no_descriptor_is_refused_at_once(void) {
  struct rig rig = {0};
  struct client client, callers[3], later;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  for (int i = 0; i < 3; i++) rig_call(&rig, &callers[i]);
  struct rlimit before = take_all_descriptors();
  for (int i = 0; i < 3; i++) RIG_UNTIL(&rig, was_refused(callers[i].fd));
  CHECK_INT(rig.reactor->counters.refused, 3);
  CHECK_INT(rig.reactor->counters.accept_errors, 0);
  CHECK_INT(rig.reactor->accept_at_ns, 0);
  rig_publish(&rig, "the others go on", 0);
  rig_receives(&rig, &client, "the others go on\n");
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
  rig_join(&rig, &later);
  CHECK_INT(rig.reactor->counters.refused, 3);
  rig_close(&rig);
  for (int i = 0; i < 3; i++) client_close(&callers[i]);
  client_close(&client);
  client_close(&later);
}

/* fs_reactor_drive returns, so that the program can report it. */
static void a_refusal_ends_driving(void) {
  struct rig rig = {0};
  struct client caller;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_call(&rig, &caller);
  struct rlimit before = take_all_descriptors();
  CHECK_INT(fs_reactor_drive(rig.reactor, -1), 0);
  CHECK_INT(rig.reactor->counters.refused, 1);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
  rig_close(&rig);
  client_close(&caller);
}

/* Another thread may take the place of the reserve. */
static void a_lost_reserve_is_made_again(void) {
  fs_listeners set;
  fs_addr addr, peer;
  int fd = rig_listen(AF_INET, &addr);
  CHECK_INT(fs_listeners_open(&set, &fd, 1), 0);
  int first = call_at(&addr), second = call_at(&addr);
  fs_listeners_note(&set, 0);
  fault_plan(FAULT_accept4, 1, 2, EMFILE);
  fault_on();
  CHECK_INT(fs_listeners_accept(&set, &peer), -EMFILE);
  fault_plan(FAULT_socket, 1, 1, EMFILE);
  /* Accepted in the place of the reserve, which is not to be had again. */
  struct rlimit before = take_all_descriptors();
  CHECK_INT(fs_listeners_accept(&set, &peer), FS_EREFUSED);
  CHECK(set.reserve_fd < 0);
  CHECK(was_refused(first));
  int taken = dup(STDERR_FILENO);
  CHECK(taken >= 0);
  CHECK_INT(fs_listeners_accept(&set, &peer), -EMFILE);
  CHECK(!was_refused(second));
  fs_sys_close(taken);
  fault_off();
  CHECK_INT(fs_listeners_accept(&set, &peer), taken);
  fs_sys_close(taken);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
  fs_sys_close(first);
  fs_sys_close(second);
  fs_listeners_close(&set);
}

CHECK_UNIT(TEST(callers_of_all_are_served), TEST(they_take_turns),
           TEST(what_cannot_be_opened_stays_the_callers),
           TEST(who_finds_no_descriptor_is_refused_at_once), TEST(a_refusal_ends_driving),
           TEST(a_lost_reserve_is_made_again))
