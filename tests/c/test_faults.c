/* One scene, played again and again, each time with another call of the engine failing: until all
 * have failed once. Nothing may leak, no client may receive a wrong byte, and the server closes. */
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "rig.h"

enum { CLIENTS = 3 };

/* Of AddressSanitizer; not every gcc comes with its header. */
size_t __sanitizer_get_current_allocated_bytes(void);

static const uint8_t *text_of(const char *text) { return (const uint8_t *)text; }

static void some_turns(struct rig *rig) {
  for (int i = 0; i < 8; i++) rig_turn(rig, 0);
}

/* Everything that a server does once. Which calls are reached depends on what has failed. */
static void act(struct rig *rig, struct client *clients) {
  uint64_t handles[CLIENTS], numbers[CLIENTS], seq;
  fs_outgoing two[] = {{{text_of("many 1"), 6}, 0}, {{text_of("many 2"), 6}, 0}};
  size_t index;
  for (int i = 0; i < CLIENTS; i++) {
    rig_call(rig, &clients[i]);
    some_turns(rig);
  }
  uint32_t count = fs_reactor_open_handles(rig->reactor, handles, numbers, CLIENTS);
  client_write(&clients[0], "relayed\nunfin", 13);
  some_turns(rig);
  /* The peer of a connection that has failed is gone. */
  (void)client_pour(&clients[0], "ished\n", 6);
  some_turns(rig);
  fault_on();
  (void)fs_reactor_publish(rig->reactor, 0, text_of("to all"), 6, 0, &seq);
  if (count > 1)
    (void)fs_reactor_publish(rig->reactor, 0, text_of("not to 2"), 8, handles[1], &seq);
  if (count > 2) (void)fs_reactor_send(rig->reactor, handles[2], text_of("to 3"), 4);
  CHECK_INT(fs_reactor_measure(rig->reactor, two, 2, &index), 0);
  (void)fs_reactor_publish_many(rig->reactor, 0, two, 2, &seq);
  fs_reactor_flush(rig->reactor);
  (void)rig_make_room(rig->reactor, 0, 100, 0, 0);
  fault_off();
  some_turns(rig);
  if (count > 2) fs_reactor_close_conn(rig->reactor, handles[2], FS_REASON_LOCAL);
  some_turns(rig);
}

/* Whole lines that a client sent, none of them twice; what was cut off at the end does not count.
 */
static void check_lines(const struct client *client) {
  static const char *const lines[] = {"relayed\n", "unfinished\n", "to all\n", "not to 2\n",
                                      "to 3\n",    "many 1\n",     "many 2\n"};
  bool seen[sizeof lines / sizeof *lines] = {false};
  for (size_t at = 0; at < client->got_len;) {
    const uint8_t *end = memchr(client->got + at, '\n', client->got_len - at);
    if (!end) break;
    size_t len = (size_t)(end + 1 - (client->got + at)), i = 0;
    while (i < sizeof lines / sizeof *lines &&
           (strlen(lines[i]) != len || memcmp(lines[i], client->got + at, len) || seen[i]))
      i++;
    CHECK(i < sizeof lines / sizeof *lines);
    seen[i] = true;
    at += len;
  }
}

static void check_text(const struct client *client, const char *expected) {
  CHECK_BYTES(client->got, client->got_len, expected, strlen(expected));
}

static void check_complete(const struct client *clients) {
  check_text(&clients[0], "to all\nnot to 2\nmany 1\nmany 2\n");
  check_text(&clients[1], "relayed\nunfinished\nto all\nmany 1\nmany 2\n");
  check_text(&clients[2], "relayed\nunfinished\nto all\nnot to 2\nto 3\nmany 1\nmany 2\n");
}

/* Plays the scene; whether the call was reached and has failed. */
static bool play(fault_call call, int nth, int error) {
  struct rig rig = {0};
  struct client clients[CLIENTS];
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  config.linger_ns = 5 * RIG_MS_NS;
  int fd = rig_listen(AF_INET6, &rig.address);
  fault_plan(call, nth, 1, error);
  fault_on();
  int result = fs_reactor_new(&rig.reactor, &config, &fd, 1);
  fault_off();
  CHECK(result == 0 || (fault_hits() && result == -error));
  if (result < 0) {
    fs_sys_close(fd);
    return true;
  }
  atomic_store(&rig.reactor->report, true);
  act(&rig, clients);
  for (int i = 0; i < CLIENTS; i++) {
    client_pull(&clients[i]);
    check_lines(&clients[i]);
  }
  if (error == EINTR || !fault_hits()) check_complete(clients);
  rig_close(&rig);
  for (int i = 0; i < CLIENTS; i++) client_close(&clients[i]);
  return fault_hits() > 0;
}

/* Until the scene has no call left that could fail. */
static void fail_each(fault_call call, int error) {
  size_t fd_count = (size_t)check_fd_count();
  int nth = 1;
  play(call, INT32_MAX, error);
  size_t allocated = __sanitizer_get_current_allocated_bytes();
  while (play(call, nth, error)) {
    size_t now = __sanitizer_get_current_allocated_bytes();
    if (now != allocated || (size_t)check_fd_count() != fd_count)
      fprintf(stderr, "%s, call %d, error %d: something is left\n", fault_names[call], nth, error);
    CHECK_INT(check_fd_count(), fd_count);
    CHECK_INT(now, allocated);
    nth++;
  }
  CHECK(nth > 1);
}

static void memory_failing(void) {
  fail_each(FAULT_malloc, ENOMEM);
  fail_each(FAULT_calloc, ENOMEM);
  fail_each(FAULT_realloc, ENOMEM);
  fail_each(FAULT_mmap, ENOMEM);
}

static void descriptors_failing(void) {
  fail_each(FAULT_memfd_create, EMFILE);
  fail_each(FAULT_ftruncate, ENOSPC);
  fail_each(FAULT_epoll_create1, EMFILE);
  fail_each(FAULT_epoll_ctl, ENOSPC);
  fail_each(FAULT_eventfd, EMFILE);
  fail_each(FAULT_socket, EMFILE);
  fail_each(FAULT_timerfd_create, EMFILE);
}

static void accepting_failing(void) {
  fail_each(FAULT_setsockopt, ENOPROTOOPT);
  fail_each(FAULT_accept4, EMFILE);
  fail_each(FAULT_accept4, ECONNABORTED);
}

static void sending_failing(void) {
  fail_each(FAULT_send, ECONNRESET);
  fail_each(FAULT_send, EPIPE);
  fail_each(FAULT_send, ENOBUFS);
  fail_each(FAULT_sendmsg, ECONNRESET);
  fail_each(FAULT_sendmsg, ENOMEM);
  fail_each(FAULT_shutdown, ENOTCONN);
}

static void receiving_failing(void) {
  fail_each(FAULT_recv, ECONNRESET);
  fail_each(FAULT_recv, ETIMEDOUT);
  fail_each(FAULT_recv, ENOMEM);
}

/* An interrupted call goes on, and nothing shows it. */
static void signals(void) {
  fail_each(FAULT_accept4, EINTR);
  fail_each(FAULT_send, EINTR);
  fail_each(FAULT_sendmsg, EINTR);
  fail_each(FAULT_recv, EINTR);
  fail_each(FAULT_epoll_pwait2, EINTR);
}

/* ---- Failures that do not end at once ---- */

/* accept(2) may go on failing with an error of its own, such as that of a security module. */
static void accept_failing_for_good(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_call(&rig, &client);
  fault_plan(FAULT_accept4, 1, 1000000, EPERM);
  RIG_UNTIL(&rig, fault_hits() > 0);
  CHECK(fault_hits() < 1000);
  fault_plan(FAULT_accept4, 1, 0, 0);
  RIG_UNTIL(&rig, rig_count(&rig, FS_CONNECTED) == 1);
  rig_close(&rig);
  client_close(&client);
}

/* A forked child may still hold the descriptor that listens: the kernel goes on reporting callers
 * of a server that is closing. */
static void listening_descriptor_held_by_a_child(void) {
  struct rig rig = {0};
  struct client client, late;
  fs_config config = rig_config();
  config.linger_ns = 50 * RIG_MS_NS;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  int child = dup(rig.reactor->listeners.all[0].fd);
  fs_reactor_close(rig.reactor, false);
  some_turns(&rig);
  rig_call(&rig, &late);
  /* More than this is a turn that never ends. */
  fault_plan(FAULT_accept4, 1000, 1, EAGAIN);
  some_turns(&rig);
  CHECK_INT(fault_hits(), 0);
  fs_sys_close(child);
  rig_close(&rig);
  client_close(&client);
  client_close(&late);
}

/* A message that found no memory is tried again, or its speaker is told; it does not wait for
 * something else to happen. */
static void no_memory_to_leave_the_speaker_out(void) {
  struct rig rig = {0};
  struct client speaker, listener;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  config.linger_ns = 50 * RIG_MS_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &speaker);
  rig_join(&rig, &listener);
  fault_plan(FAULT_malloc, 1, 1, ENOMEM);
  client_say(&speaker, "hello\n");
  RIG_UNTIL(&rig, fault_hits() == 1);
  RIG_UNTIL(&rig, (client_pull(&listener), client_pull(&speaker),
                   listener.got_len == 6 || speaker.ended));
  rig_close(&rig);
  client_close(&speaker);
  client_close(&listener);
}

CHECK_UNIT(TEST(memory_failing), TEST(descriptors_failing), TEST(accepting_failing),
           TEST(sending_failing), TEST(receiving_failing), TEST(signals),
           TEST(accept_failing_for_good), TEST(listening_descriptor_held_by_a_child),
           TEST(no_memory_to_leave_the_speaker_out))
