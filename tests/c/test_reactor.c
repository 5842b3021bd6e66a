/* The reactor among peers that behave: what each receives, in which order, and how it ends. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/fs_state.h"
#include "rig.h"

enum { FEW = 5 };

static const int families[] = {AF_INET, AF_INET6, AF_UNIX};

static void joined(struct rig *rig, struct client *clients, size_t count) {
  for (size_t i = 0; i < count; i++) rig_join(rig, &clients[i]);
}

static void left(struct client *clients, size_t count) {
  for (size_t i = 0; i < count; i++) client_close(&clients[i]);
}

/* ---- Coming and going ---- */

static void clients_are_numbered(void) {
  for (size_t family = 0; family < 3; family++) {
    struct rig rig = {0};
    struct client clients[FEW];
    fs_config config = rig_config();
    rig_open(&rig, &config, families[family]);
    for (int i = 0; i < FEW; i++) {
      fs_addr peer, own = {.len = sizeof own - offsetof(fs_addr, any)};
      rig_join(&rig, &clients[i]);
      CHECK_INT(rig_last(&rig, FS_CONNECTED)->number, i + 1);
      CHECK_INT(fs_reactor_peer(rig.reactor, clients[i].handle, &peer), 0);
      CHECK_INT(getsockname(clients[i].fd, &own.any, &own.len), 0);
      CHECK_BYTES(&peer.any, peer.len, &own.any, own.len);
    }
    client_close(&clients[1]);
    RIG_UNTIL(&rig, rig_count(&rig, FS_DISCONNECTED) == 1);
    CHECK_INT(rig_last(&rig, FS_DISCONNECTED)->number, 2);
    CHECK_INT(rig_reason(&rig, clients[1].handle), FS_REASON_PEER);
    rig_join(&rig, &clients[1]);
    CHECK_INT(rig_last(&rig, FS_CONNECTED)->number, FEW + 1);
    rig_close(&rig);
    left(clients, FEW);
  }
}

/* It is one byte longer than a sockaddr_un: unix(7). */
static void the_longest_address_of_a_peer(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  fs_addr peer, own = {.len = sizeof own.un, .un.sun_family = AF_UNIX};
  rig_open(&rig, &config, AF_UNIX);
  memset(own.un.sun_path, 'p', sizeof own.un.sun_path);
  memcpy(own.un.sun_path, "/tmp/fs", 7);
  client = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  CHECK_INT(bind(client.fd, &own.any, own.len), 0);
  CHECK_INT(connect(client.fd, &rig.address.any, rig.address.len), 0);
  char path[sizeof own.un.sun_path + 1] = {0};
  memcpy(path, own.un.sun_path, sizeof own.un.sun_path);
  unlink(path);
  own.len = sizeof own - offsetof(fs_addr, any);
  CHECK_INT(getsockname(client.fd, &own.any, &own.len), 0);
  RIG_UNTIL(&rig, rig_count(&rig, FS_CONNECTED) == 1);
  CHECK_INT(fs_reactor_peer(rig.reactor, rig_last(&rig, FS_CONNECTED)->handle, &peer), 0);
  CHECK_BYTES(&peer.any, peer.len, &own.any, own.len);
  rig_close(&rig);
  client_close(&client);
}

static void a_reactor_that_cannot_be(void) {
  fs_reactor *reactor = NULL;
  struct rig rig = {0};
  fs_config config = rig_config(), bad = config;
  rig_open(&rig, &config, AF_INET);
  int fds[FS_LISTENERS_MAX + 1] = {-1}, fd = rig_listen(AF_INET, &rig.address);
  CHECK_INT(fs_reactor_new(&reactor, &config, fds, 0), -EINVAL);
  CHECK_INT(fs_reactor_new(&reactor, &config, fds, 1), -EBADF);
  CHECK_INT(fs_reactor_new(&reactor, &config, fds, FS_LISTENERS_MAX + 1), -EINVAL);
  bad.connections_max = 0;
  CHECK_INT(fs_reactor_new(&reactor, &bad, &fd, 1), -EINVAL);
  bad = config;
  bad.log_bytes = 4 * (config.message_bytes_max + 1) - 1;
  CHECK_INT(fs_reactor_new(&reactor, &bad, &fd, 1), -EINVAL);
  bad.log_bytes = 3 << 16;
  CHECK_INT(fs_reactor_new(&reactor, &bad, &fd, 1), -EINVAL);
  CHECK(!reactor);
  /* It stayed ours. */
  fs_sys_close(fd);
  rig_close(&rig);
}

static void callers_beyond_the_limit_wait(void) {
  struct rig rig = {0};
  struct client clients[6];
  fs_config config = rig_config();
  config.connections_max = 4;
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 4);
  rig_call(&rig, &clients[4]);
  rig_call(&rig, &clients[5]);
  for (int i = 0; i < 20; i++) rig_turn(&rig, 0);
  CHECK_INT(rig_count(&rig, FS_CONNECTED), 4);
  client_say(&clients[5], "early\n");
  client_close(&clients[0]);
  RIG_UNTIL(&rig, rig_count(&rig, FS_CONNECTED) == 5);
  client_close(&clients[1]);
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  CHECK_INT(rig_last(&rig, FS_MESSAGE)->number, 6);
  rig_close(&rig);
  left(clients + 2, 4);
}

static void no_descriptor_for_a_caller(void) {
  struct rig rig = {0};
  struct client clients[2];
  struct rlimit limit, none;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &clients[0]);
  rig_call(&rig, &clients[1]);
  CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
  RIG_UNTIL(&rig, rig.reactor->counters.accept_errors == 1);
  /* It serves the others in the meantime, and does not try again at once. */
  uint64_t turns = rig.reactor->counters.turns;
  rig_publish(&rig, "all the same", 0);
  rig_receives(&rig, &clients[0], "all the same\n");
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
  RIG_UNTIL(&rig, rig_count(&rig, FS_CONNECTED) == 2);
  CHECK(rig.reactor->counters.turns - turns < 100);
  rig_close(&rig);
  left(clients, 2);
}

/* ---- What each client receives ---- */

static void a_broadcast_reaches_all(void) {
  for (size_t family = 0; family < 3; family++) {
    struct rig rig = {0};
    struct client clients[FEW];
    uint64_t seq;
    fs_config config = rig_config();
    rig_open(&rig, &config, families[family]);
    CHECK_INT(fs_reactor_publish(rig.reactor, 0, (const uint8_t *)"for nobody", 10, 0, &seq), 0);
    CHECK_INT(seq, 1);
    joined(&rig, clients, FEW);
    CHECK_INT(fs_reactor_publish(rig.reactor, 0, (const uint8_t *)"a\n", 2, 0, &seq), 0);
    CHECK_INT(seq, 2);
    CHECK_INT(fs_reactor_publish(rig.reactor, 0, NULL, 0, 0, &seq), 0);
    CHECK_INT(seq, 3);
    rig_publish(&rig, "b", 0);
    for (int i = 0; i < FEW; i++) rig_receives(&rig, &clients[i], "a\n\nb\n");
    rig_close(&rig);
    left(clients, FEW);
  }
}

static void messages_that_cannot_be_published(void) {
  static uint8_t big[(1 << 13) + 1];
  struct rig rig = {0};
  uint64_t seq;
  fs_config config = rig_config();
  struct client client;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, big, sizeof big, 0, &seq), FS_ETOOBIG);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle, big, sizeof big), FS_ETOOBIG);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, (const uint8_t *)"a\nb", 3, 0, &seq), FS_ENEWLINE);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle, (const uint8_t *)"\n\n", 2), FS_ENEWLINE);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle + 1, big, 1), FS_EGONE);
  CHECK_INT(rig.reactor->channels[0]->log.head, 0);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, big, sizeof big - 1, 0, &seq), 0);
  rig_close(&rig);
  client_close(&client);
}

static void many_under_one_lock(void) {
  struct rig rig = {0};
  struct client client;
  uint64_t seq = 0;
  size_t index;
  fs_outgoing three[] = {
      {{(const uint8_t *)"one", 3}, 0}, {{NULL, 0}, 0}, {{(const uint8_t *)"3\n", 2}, 0}};
  fs_outgoing bad[] = {{{(const uint8_t *)"one", 3}, 0}, {{(const uint8_t *)"a\nb", 3}, 0}};
  static fs_outgoing many[5000];
  for (size_t i = 0; i < 5000; i++) many[i].message = (fs_slice){(const uint8_t *)"x", 1};
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  CHECK_INT(fs_reactor_measure(rig.reactor, bad, 2, &index), FS_ENEWLINE);
  CHECK_INT(index, 1);
  CHECK_INT(fs_reactor_measure(rig.reactor, three, 3, &index), 0);
  CHECK_INT(fs_reactor_measure(rig.reactor, many, 5000, &index), 0);
  CHECK_INT(rig.reactor->channels[0]->log.head, 0);
  CHECK_INT(fs_reactor_publish_many(rig.reactor, 0, three, 3, &seq), 3);
  CHECK_INT(seq, 3);
  rig_receives(&rig, &client, "one\n\n3\n");
  /* As many as there is room for: the index has one place for every 64 bytes of the log. */
  int done = fs_reactor_publish_many(rig.reactor, 0, many, 5000, &seq);
  CHECK_INT(done, config.log_bytes / FS_LOG_BYTES_PER_INDEX);
  CHECK_INT(seq, 3 + done);
  CHECK_INT(fs_reactor_publish_many(rig.reactor, 0, many, 5000, &seq), 0);
  rig_close(&rig);
  client_close(&client);
}

struct flicker {
  _Atomic uint8_t bytes[8];
  atomic_bool stop;
};

/* Writes as another process may, which shares the memory that a message lies in. */
static void *flicker(void *arg) {
  struct flicker *f = arg;
  for (uint32_t i = 0; !atomic_load(&f->stop); i++) {
    atomic_store(&f->bytes[7], i & 1 ? '\n' : 'x');
    atomic_store(&f->bytes[3], i & 2 ? '\n' : 'x');
  }
  return NULL;
}

/* What is sent is then anything, but nothing outside of the message is written. */
static void bytes_that_change_in_between(void) {
  struct rig rig = {0};
  struct client client;
  struct flicker f = {.stop = false};
  pthread_t thread;
  uint64_t seq;
  fs_outgoing one = {{(const uint8_t *)f.bytes, sizeof f.bytes}, 0};
  const fs_slice message = one.message;
  size_t index;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  CHECK_INT(pthread_create(&thread, NULL, flicker, &f), 0);
  for (int i = 0; i < 50000; i++) {
    uint64_t head = rig.reactor->channels[0]->log.head;
    if (fs_reactor_measure(rig.reactor, &one, 1, &index) == 0)
      (void)fs_reactor_publish_many(rig.reactor, 0, &one, 1, &seq);
    CHECK(rig.reactor->channels[0]->log.head - head <= sizeof f.bytes + 1);
    (void)fs_reactor_send(rig.reactor, client.handle, message.data, message.len);
    if (i % 100) continue;
    rig_turn(&rig, 0);
    client_pull(&client);
    client.got_len = 0;
  }
  atomic_store(&f.stop, true);
  pthread_join(thread, NULL);
  rig_close(&rig);
  client_close(&client);
}

static void the_excluded_one_hears_the_rest(void) {
  struct rig rig = {0};
  struct client clients[3];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 3);
  rig_publish(&rig, "1", clients[0].handle);
  rig_publish(&rig, "2", clients[1].handle);
  rig_publish(&rig, "3", clients[1].handle);
  rig_publish(&rig, "4", 0);
  rig_publish(&rig, "5", clients[0].handle);
  rig_receives(&rig, &clients[0], "2\n3\n4\n");
  rig_receives(&rig, &clients[1], "1\n4\n5\n");
  rig_receives(&rig, &clients[2], "1\n2\n3\n4\n5\n");
  /* A connection that is gone excludes none, nor does its successor in the slot. */
  client_close(&clients[1]);
  RIG_UNTIL(&rig, rig_count(&rig, FS_DISCONNECTED) == 1);
  uint64_t stale = clients[1].handle;
  rig_join(&rig, &clients[1]);
  CHECK_INT((uint32_t)clients[1].handle, (uint32_t)stale);
  rig_publish(&rig, "6", stale);
  for (int i = 0; i < 3; i++) rig_receives(&rig, &clients[i], "6\n");
  CHECK_INT(fs_reactor_send(rig.reactor, stale, NULL, 0), FS_EGONE);
  rig_close(&rig);
  left(clients, 3);
}

static void sends_keep_the_order_of_the_calls(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 2);
  rig_send(&rig, &clients[0], "a");
  rig_publish(&rig, "1", 0);
  rig_send(&rig, &clients[0], "b");
  rig_send(&rig, &clients[1], "c");
  rig_send(&rig, &clients[0], "d");
  rig_publish(&rig, "2", clients[0].handle);
  rig_send(&rig, &clients[0], "e");
  rig_publish(&rig, "3", 0);
  rig_receives(&rig, &clients[0], "a\n1\nb\nd\ne\n3\n");
  rig_receives(&rig, &clients[1], "1\nc\n2\n3\n");
  rig_close(&rig);
  left(clients, 2);
}

/* ---- Ends ---- */

/* More than the kernel holds; the client reads it after it was closed. */
static void a_closed_client_gets_its_tail(void) {
  enum { COUNT = 200, LEN = 300 };
  for (size_t family = 0; family < 3; family++) {
    struct rig rig = {.narrow = true};
    struct client client;
    char text[LEN + 1], *expected = calloc(COUNT, LEN + 2);
    fs_config config = rig_config();
    rig_open(&rig, &config, families[family]);
    rig_join(&rig, &client);
    for (int i = 0; i < COUNT; i++) {
      snprintf(text, sizeof text, "%0*d", LEN, i);
      rig_publish(&rig, text, 0);
      strcat(strcat(expected, text), "\n");
    }
    rig_send(&rig, &client, "bye");
    strcat(expected, "bye\n");
    CHECK_INT(fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL), 0);
    CHECK_INT(fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_HANDLER), FS_EGONE);
    for (int i = 0; i < 20; i++) rig_turn(&rig, 0);
    rig_publish(&rig, "not for the closed", 0);
    CHECK_INT(fs_reactor_send(rig.reactor, client.handle, NULL, 0), FS_EGONE);
    rig_ends(&rig, &client, expected);
    /* What it still says does no harm; the end comes with its own close. */
    client_say(&client, "still there?\n");
    for (int i = 0; i < 20; i++) rig_turn(&rig, 0);
    CHECK_INT(rig_count(&rig, FS_DISCONNECTED), 0);
    client_close(&client);
    RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_LOCAL);
    CHECK_INT(rig_count(&rig, FS_MESSAGE), 0);
    rig_close(&rig);
    free(expected);
  }
}

/* Bytes that the server has not read must not turn its close into a reset. */
static void a_tail_is_not_lost_to_a_reset(void) {
  static char noise[1 << 16];
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  memset(noise, 'x', sizeof noise);
  for (size_t i = 99; i < sizeof noise; i += 100) noise[i] = '\n';
  client_write(&client, noise, sizeof noise);
  rig_send(&rig, &client, "bye");
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  for (int i = 0; i < 50; i++) {
    rig_turn(&rig, 0);
    client_write(&client, noise, 1000);
  }
  rig_ends(&rig, &client, "bye\n");
  client_close(&client);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_LOCAL);
  rig_close(&rig);
}

static void closing_the_server(void) {
  struct rig rig = {0};
  struct client clients[FEW];
  uint64_t seq;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, FEW);
  rig_publish(&rig, "last", 0);
  fs_reactor_close(rig.reactor, false);
  fs_reactor_close(rig.reactor, false);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, NULL, 0, 0, &seq), FS_ECLOSED);
  for (int i = 0; i < FEW; i++) rig_ends(&rig, &clients[i], "last\n");
  int late = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(late, &rig.address.any, rig.address.len) < 0);
  fs_sys_close(late);
  left(clients, FEW);
  RIG_UNTIL(&rig, rig_count(&rig, FS_DISCONNECTED) == FEW);
  for (int i = 0; i < FEW; i++) CHECK_INT(rig_reason(&rig, clients[i].handle), FS_REASON_SERVER);
  rig_close(&rig);
}

static void linger_is_the_longest_wait(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.linger_ns = 50 * RIG_MS_NS;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  uint64_t begun_ns = fs_sys_now_ns();
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  while (rig_reason(&rig, client.handle) < 0) rig_turn(&rig, RIG_WAIT_NS);
  uint64_t took_ns = fs_sys_now_ns() - begun_ns;
  CHECK(took_ns >= config.linger_ns && took_ns < (uint64_t)RIG_WAIT_NS);
  rig_close(&rig);
  client_close(&client);
}

/* ---- Waiting and counting ---- */

static void drained(void) {
  struct rig rig = {.narrow = true};
  struct client clients[2];
  fs_waiter before, after;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 2);
  fs_reactor_prepare(rig.reactor, &before, FS_WAIT_DRAIN);
  CHECK(fs_reactor_met(rig.reactor, &before));
  rig_fill(&rig, &clients[0], 1000);
  fs_reactor_prepare(rig.reactor, &before, FS_WAIT_DRAIN);
  rig_send(&rig, &clients[1], "direct");
  fs_reactor_prepare(rig.reactor, &after, FS_WAIT_DRAIN);
  CHECK(!fs_reactor_met(rig.reactor, &before));
  RIG_UNTIL(&rig, (client_pull(&clients[1]), clients[1].got_len > 7) &&
                      !memcmp(clients[1].got + clients[1].got_len - 7, "direct\n", 7));
  CHECK(!fs_reactor_met(rig.reactor, &before) && !fs_reactor_met(rig.reactor, &after));
  RIG_UNTIL(&rig, (client_pull(&clients[0]), fs_reactor_met(rig.reactor, &before)));
  CHECK(fs_reactor_met(rig.reactor, &after));
  rig_close(&rig);
  left(clients, 2);
}

/* A message to one is drained when its kernel has it, though the log stands still. */
static void drained_of_direct_messages(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_waiter waiter;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 2);
  rig_send(&rig, &clients[0], "to one");
  fs_reactor_prepare(rig.reactor, &waiter, FS_WAIT_DRAIN);
  CHECK(!fs_reactor_met(rig.reactor, &waiter));
  rig_turn(&rig, 0);
  CHECK(fs_reactor_met(rig.reactor, &waiter));
  rig_publish(&rig, "not to one", clients[0].handle);
  fs_reactor_prepare(rig.reactor, &waiter, FS_WAIT_DRAIN);
  rig_turn(&rig, 0);
  CHECK(fs_reactor_met(rig.reactor, &waiter));
  rig_close(&rig);
  left(clients, 2);
}

static uint64_t sends(const struct rig *rig) { return rig->reactor->counters.sends; }

static void the_answer_to_a_lone_message(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  joined(&rig, clients, 2);
  rig_send(&rig, &clients[0], "no answer");
  CHECK_INT(sends(&rig), 0);
  RIG_UNTIL(&rig, sends(&rig) == 1);
  client_say(&clients[0], "lone\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  rig_publish(&rig, "for the next turn", 0);
  rig_send(&rig, &clients[1], "at once");
  CHECK_INT(sends(&rig), 2);
  rig_send(&rig, &clients[1], "no answer any more");
  CHECK_INT(sends(&rig), 2);
  RIG_UNTIL(&rig, sends(&rig) == 4);
  rig_receives(&rig, &clients[0], "no answer\nfor the next turn\n");
  rig_receives(&rig, &clients[1], "for the next turn\nat once\nno answer any more\n");
  rig_close(&rig);
  left(clients, 2);
}

static void the_answers_to_several_messages(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  joined(&rig, clients, 2);
  client_say(&clients[0], "one\n");
  client_say(&clients[1], "two\n");
  rig_turn(&rig, RIG_STEP_NS);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 2);
  rig_send(&rig, &clients[0], "1");
  rig_send(&rig, &clients[0], "2");
  CHECK_INT(sends(&rig), 0);
  RIG_UNTIL(&rig, sends(&rig) == 1);
  rig_close(&rig);
  left(clients, 2);
}

/* What an earlier turn has left to be sent is no less urgent. */
static void a_lone_message_beside_other_work(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  config.flush_bytes = 4;
  rig_open(&rig, &config, AF_UNIX);
  joined(&rig, clients, 2);
  rig_publish(&rig, "more than is flushed at once", 0);
  client_say(&clients[0], "lone\n");
  rig_turn(&rig, RIG_STEP_NS);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 1);
  uint64_t before = sends(&rig);
  rig_send(&rig, &clients[0], "answer");
  CHECK_INT(sends(&rig), before);
  rig_receives(&rig, &clients[0], "more than is flushed at once\nanswer\n");
  rig_close(&rig);
  left(clients, 2);
}

static void counted(void) {
  struct rig rig = {0};
  struct client clients[FEW];
  fs_waiter waiter;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  fs_reactor_prepare(rig.reactor, &waiter, FS_WAIT_COUNT);
  waiter.count = FEW;
  for (int i = 0; i < FEW; i++) {
    CHECK(!fs_reactor_met(rig.reactor, &waiter));
    rig_join(&rig, &clients[i]);
  }
  CHECK(fs_reactor_met(rig.reactor, &waiter));
  client_close(&clients[0]);
  RIG_UNTIL(&rig, !fs_reactor_met(rig.reactor, &waiter));
  /* No client comes to a closed server: a thread that waits for clients is told. */
  fs_reactor_close(rig.reactor, false);
  CHECK(fs_reactor_met(rig.reactor, &waiter));
  rig_close(&rig);
  left(clients + 1, FEW - 1);
}

static void figures_of_one(struct rig *rig, struct client *client, uint64_t sent, uint64_t lag) {
  fs_conn_stats stats;
  CHECK_INT(fs_reactor_conn_stats(rig->reactor, client->handle, &stats), 0);
  CHECK_INT(stats.messages_sent, sent);
  CHECK_INT(stats.lag_messages, lag);
  if (lag == 0) CHECK_INT(stats.outbox_bytes, 0);
}

static void figures(void) {
  struct rig rig = {0};
  struct client clients[2];
  uint64_t handles[3], numbers[3];
  fs_totals totals;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 2);
  for (int i = 0; i < 10; i++) rig_publish(&rig, "all", i < 4 ? clients[0].handle : 0);
  for (int i = 0; i < 3; i++) rig_send(&rig, &clients[0], "one");
  figures_of_one(&rig, &clients[1], 0, 10);
  fs_reactor_totals(rig.reactor, &totals);
  CHECK_INT(totals.deliveries, 0);
  CHECK(totals.queued_bytes > 52);
  rig_turn(&rig, 0);
  figures_of_one(&rig, &clients[0], 9, 0);
  figures_of_one(&rig, &clients[1], 10, 0);
  CHECK_INT(fs_reactor_open_handles(rig.reactor, handles, numbers, 1), 2);
  CHECK_INT(fs_reactor_open_handles(rig.reactor, handles, numbers, 3), 2);
  CHECK_INT(handles[1], clients[1].handle);
  CHECK_INT(numbers[1], 2);
  CHECK_INT(fs_reactor_reason(rig.reactor, clients[0].handle), -EAGAIN);
  client_close(&clients[0]);
  RIG_UNTIL(&rig, rig_count(&rig, FS_DISCONNECTED) == 1);
  /* What a connection was given counts when it is gone. */
  fs_reactor_totals(rig.reactor, &totals);
  CHECK_INT(totals.deliveries, 19);
  CHECK_INT(totals.queued_bytes, 0);
  fs_conn_stats stats;
  CHECK_INT(fs_reactor_conn_stats(rig.reactor, clients[0].handle, &stats), FS_EGONE);
  CHECK_INT(fs_reactor_reason(rig.reactor, clients[0].handle), FS_EGONE);
  rig_close(&rig);
  client_close(&clients[1]);
}

CHECK_UNIT(TEST(clients_are_numbered), TEST(the_longest_address_of_a_peer),
           TEST(a_reactor_that_cannot_be), TEST(callers_beyond_the_limit_wait),
           TEST(no_descriptor_for_a_caller), TEST(a_broadcast_reaches_all),
           TEST(messages_that_cannot_be_published), TEST(many_under_one_lock),
           TEST(bytes_that_change_in_between), TEST(the_excluded_one_hears_the_rest),
           TEST(sends_keep_the_order_of_the_calls), TEST(a_closed_client_gets_its_tail),
           TEST(a_tail_is_not_lost_to_a_reset), TEST(closing_the_server),
           TEST(linger_is_the_longest_wait), TEST(drained), TEST(drained_of_direct_messages),
           TEST(the_answer_to_a_lone_message), TEST(the_answers_to_several_messages),
           TEST(a_lone_message_beside_other_work), TEST(counted), TEST(figures))
