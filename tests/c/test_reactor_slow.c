/* Slow consumers, full logs and full outboxes: which are cut off, which wait, and how long.
 *
 * UNIX sockets, since their buffers have no life of their own: once full, they stay so until the
 * peer reads. */
#include <pthread.h>
#include <string.h>

#include "rig.h"

#define GRACE_NS (200 * RIG_MS_NS)

static int make_room(struct rig *rig, size_t bytes, const struct client *client, int64_t limit_ns) {
  return client ? rig_make_room(rig->reactor, FS_NO_LOG, bytes, client->handle, limit_ns)
                : rig_make_room(rig->reactor, 0, bytes, 0, limit_ns);
}

/* Sends to one client, each with a turn, until its outbox is full. */
static void fill_outbox(struct rig *rig, const struct client *client, size_t len) {
  static const uint8_t zeros[1 << 13];
  while (fs_reactor_send(rig->reactor, client->handle, zeros, len) == 0) rig_turn(rig, 0);
  CHECK_INT(fs_reactor_send(rig->reactor, client->handle, zeros, len), FS_EOUTBOX);
  CHECK(client_conn(rig, client)->blocked);
}

/* Nothing is left to do: a turn lasts as long as it may. */
static void check_rests(struct rig *rig) {
  for (int i = 0; i < 20; i++) rig_turn(rig, 0);
  uint64_t begun_ns = fs_sys_now_ns();
  CHECK_INT(rig_turn(rig, 20 * RIG_MS_NS), 0);
  CHECK(fs_sys_now_ns() - begun_ns >= 20 * RIG_MS_NS);
}

/* ---- The log ---- */

static void full_without_a_slow_reader(void) {
  struct rig rig = {0};
  struct client client;
  static uint8_t bytes[1000];
  uint64_t seq;
  fs_config config = rig_config();
  config.slow_grace_ns = 0;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  for (int i = 0; i < 1000; i++) {
    int result = fs_reactor_publish(rig.reactor, 0, bytes, sizeof bytes, 0, &seq);
    if (result == FS_EFULL) CHECK_INT(make_room(&rig, sizeof bytes, NULL, 0), 0);
    if (i % 50 == 0) client_pull(&client);
  }
  rig_turn(&rig, 0);
  CHECK_INT(rig_count(&rig, FS_DISCONNECTED), 0);
  rig_close(&rig);
  client_close(&client);
}

static void slow_consumer_has_its_grace(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  uint64_t blocked_ns = client_conn(&rig, &client)->blocked_ns;
  CHECK_INT(make_room(&rig, 1000, NULL, RIG_WAIT_NS), 0);
  CHECK(fs_sys_now_ns() - blocked_ns >= GRACE_NS);
  rig_turn(&rig, 0);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  rig_publish(&rig, "there is room", 0);
  rig_close(&rig);
  client_close(&client);
}

static void the_slowest_is_named(void) {
  struct rig rig = {0};
  struct client first, second;
  fs_slowest slowest;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  CHECK_INT(fs_reactor_slowest(rig.reactor, 0, &slowest), FS_EGONE);
  rig_join(&rig, &first);
  rig_publish(&rig, "before the second came", 0);
  rig_join(&rig, &second);
  rig_fill(&rig, &second, 1000);
  client_pull(&first);
  rig_turn(&rig, 0);
  CHECK_INT(fs_reactor_slowest(rig.reactor, 0, &slowest), 0);
  CHECK_INT(slowest.number, 2);
  CHECK(slowest.handle == second.handle);
  CHECK_INT(slowest.log_bytes, config.log_bytes);
  CHECK(slowest.lag_bytes > 0 && slowest.lag_bytes <= config.log_bytes);
  CHECK_INT(slowest.policy, config.policy);
  int number = fs_reactor_add_channel(rig.reactor, config.log_bytes, FS_POLICY_BLOCK, 0);
  CHECK_INT(fs_reactor_slowest(rig.reactor, (uint32_t)number, &slowest), FS_EGONE);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, (uint32_t)number, first.handle), 0);
  CHECK_INT(fs_reactor_slowest(rig.reactor, (uint32_t)number, &slowest), 0);
  CHECK_INT(slowest.number, 1);
  CHECK_INT(slowest.lag_bytes, 0);
  CHECK_INT(slowest.policy, FS_POLICY_BLOCK);
  rig_close(&rig);
  client_close(&first);
  client_close(&second);
}

static void waiting_for_room_has_an_end(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  uint64_t begun_ns = fs_sys_now_ns(), head = rig.reactor->channels[0]->log.head;
  CHECK_INT(make_room(&rig, 1000, NULL, 30 * RIG_MS_NS), -ETIMEDOUT);
  CHECK(fs_sys_now_ns() - begun_ns >= 30 * RIG_MS_NS);
  CHECK_INT(rig.reactor->channels[0]->log.head, head);
  CHECK_INT(client_conn(&rig, &client)->state, FS_OPEN);
  check_rests(&rig);
  /* Room comes with the first bytes that the client takes. */
  client_pull(&client);
  CHECK_INT(make_room(&rig, 1000, NULL, RIG_WAIT_NS), 0);
  rig_close(&rig);
  client_close(&client);
}

/* A slow reader in no thread's way stays. */
static void slow_in_no_threads_way(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.slow_grace_ns = 1;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  check_rests(&rig);
  CHECK_INT(client_conn(&rig, &client)->state, FS_OPEN);
  rig_close(&rig);
  client_close(&client);
}

/* The next slow one is found when the slowest has gone. */
static void two_slow_consumers_apart(void) {
  struct rig rig = {0};
  struct client slowest, slow;
  fs_config config = rig_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &slowest);
  rig_join(&rig, &slow);
  for (int i = 0; i < 5; i++) {
    rig_send(&rig, &slowest, "room that it lacks for the rest");
    rig_turn(&rig, 0);
  }
  rig_fill(&rig, &slowest, 1000);
  CHECK(client_conn(&rig, &slow)->blocked);
  uint64_t apart =
      client_conn(&rig, &slow)->main.box.cursor - client_conn(&rig, &slowest)->main.box.cursor;
  CHECK(apart > 0 && apart < 8000);
  uint64_t begun_ns = fs_sys_now_ns();
  CHECK_INT(make_room(&rig, 8000, NULL, RIG_WAIT_NS), 0);
  CHECK(fs_sys_now_ns() - begun_ns < RIG_WAIT_NS / 2);
  rig_turn(&rig, 0);
  CHECK_INT(rig_reason(&rig, slowest.handle), FS_REASON_SLOW);
  CHECK_INT(rig_reason(&rig, slow.handle), FS_REASON_SLOW);
  rig_close(&rig);
  client_close(&slowest);
  client_close(&slow);
}

/* Reads on and on, until told to stop; how many bytes. */
struct reader {
  struct client *client;
  size_t len;         /* of each read */
  useconds_t pace_us; /* between reads */
  atomic_bool stop;
  _Atomic uint64_t got;
};

static void *read_on(void *arg) {
  static uint8_t bytes[1 << 16];
  struct reader *reader = arg;
  while (!atomic_load(&reader->stop)) {
    ssize_t received = fs_sys_recv(reader->client->fd, bytes, reader->len);
    if (received > 0) atomic_fetch_add(&reader->got, (uint64_t)received);
    if (received != (ssize_t)reader->len || reader->pace_us) usleep(reader->pace_us + 100);
  }
  return NULL;
}

/* A tight publishing loop harms no reader that keeps up, while it waits for one that does not. */
static void who_keeps_up_is_not_harmed(void) {
  enum { COUNT = 3000, LEN = 1000 };
  struct rig rig = {0};
  struct client fast, stuck;
  static const uint8_t zeros[LEN];
  uint64_t seq;
  pthread_t thread;
  fs_config config = rig_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &fast);
  rig_join(&rig, &stuck);
  struct reader reader = {.client = &fast, .len = 1 << 16};
  pthread_create(&thread, NULL, read_on, &reader);
  for (int i = 0; i < COUNT; i++)
    while (fs_reactor_publish(rig.reactor, 0, zeros, LEN, 0, &seq) == FS_EFULL)
      CHECK_INT(make_room(&rig, LEN, NULL, RIG_WAIT_NS), 0);
  RIG_UNTIL(&rig, reader.got == COUNT * (LEN + 1));
  CHECK_INT(rig_reason(&rig, stuck.handle), FS_REASON_SLOW);
  CHECK_INT(rig_reason(&rig, fast.handle), -1);
  atomic_store(&reader.stop, true);
  pthread_join(thread, NULL);
  rig_close(&rig);
  client_close(&fast);
  client_close(&stuck);
}

/* It takes bytes now and then, though not so many that its kernel calls it writable. Its grace, of
 * an hour, is over by decree. */
static void steady_but_slow_is_not_stuck(void) {
  struct rig rig = {0};
  struct client client;
  uint8_t scratch[60000]; /* a buffer of the kernel, of 32 KiB at most, and less than 3/4 of all */
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 8000);
  fs_conn *conn = client_conn(&rig, &client);
  for (int i = 0; i < 5; i++) {
    CHECK_INT(recv(client.fd, scratch, sizeof scratch, MSG_WAITALL), sizeof scratch);
    rig_turn(&rig, 0);
    CHECK(conn->blocked);
    uint64_t sent = conn->bytes_sent;
    conn->blocked_ns = fs_sys_now_ns() - config.slow_grace_ns;
    (void)make_room(&rig, 8000, NULL, 0);
    CHECK(conn->bytes_sent > sent);
    (void)rig_fill(&rig, &client, 8000);
  }
  conn->blocked_ns = fs_sys_now_ns() - config.slow_grace_ns;
  CHECK_INT(make_room(&rig, 8000, NULL, 0), 0);
  rig_turn(&rig, 0);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  rig_close(&rig);
  client_close(&client);
}

/* Long before their grace is over, all who are blocked are asked whether they have taken something,
 * so that no grace begins later where another one ends. */
static void graces_run_at_the_same_time(void) {
  struct rig rig = {0};
  struct client clients[3];
  uint8_t scratch[60000]; /* as above */
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  for (int i = 0; i < 3; i++) rig_join(&rig, &clients[i]);
  rig_fill(&rig, &clients[0], 8000);
  for (int i = 0; i < 3; i++) {
    CHECK_INT(recv(clients[i].fd, scratch, sizeof scratch, MSG_WAITALL), sizeof scratch);
    client_conn(&rig, &clients[i])->blocked_ns = fs_sys_now_ns() - config.slow_grace_ns / 2;
  }
  uint64_t before_ns = fs_sys_now_ns();
  CHECK_INT(make_room(&rig, 8000, NULL, 0), 0);
  for (int i = 0; i < 3; i++) {
    fs_conn *conn = client_conn(&rig, &clients[i]);
    CHECK(!conn->blocked || conn->blocked_ns >= before_ns);
  }
  rig_fill(&rig, &clients[0], 8000);
  for (int i = 0; i < 3; i++)
    client_conn(&rig, &clients[i])->blocked_ns = fs_sys_now_ns() - config.slow_grace_ns;
  CHECK_INT(make_room(&rig, 8000, NULL, 0), 0);
  rig_turn(&rig, 0);
  for (int i = 0; i < 3; i++) CHECK_INT(rig_reason(&rig, clients[i].handle), FS_REASON_SLOW);
  rig_close(&rig);
  for (int i = 0; i < 3; i++) client_close(&clients[i]);
}

/* It is blocked since the flush that found it so, however long no thread had driven before. */
static void blocked_after_a_long_pause(void) {
  struct rig rig = {0};
  struct client client;
  static uint8_t zeros[1 << 13];
  uint64_t seq;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  fs_conn *conn = client_conn(&rig, &client);
  while (!conn->blocked) {
    CHECK(fs_reactor_publish(rig.reactor, 0, zeros, sizeof zeros, 0, &seq) >= 0);
    rig.reactor->now_ns = 1; /* the last turn was long ago */
    uint64_t before_ns = fs_sys_now_ns();
    rig_turn(&rig, 0);
    CHECK(!conn->blocked || conn->blocked_ns >= before_ns);
  }
  rig_close(&rig);
  client_close(&client);
}

/* ---- The outbox ---- */

static void a_full_outbox_makes_its_owner_slow(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  fill_outbox(&rig, &client, 1000);
  check_rests(&rig);
  CHECK_INT(make_room(&rig, 1000, &client, 20 * RIG_MS_NS), -ETIMEDOUT);
  CHECK_INT(make_room(&rig, 1000, &client, RIG_WAIT_NS), 0);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle, NULL, 0), FS_EGONE);
  rig_turn(&rig, 0);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  rig_close(&rig);
  client_close(&client);
}

static void a_full_outbox_that_empties(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  fill_outbox(&rig, &client, 1000);
  client_pull(&client);
  CHECK_INT(make_room(&rig, 1000, &client, RIG_WAIT_NS), 0);
  rig_send(&rig, &client, "more");
  rig_close(&rig);
  client_close(&client);
}

/* A thread waits for one client's outbox; another is slow, but the log has room. */
static void a_full_outbox_is_no_other_clients_fault(void) {
  struct rig rig = {0};
  struct client bystander, client;
  static const uint8_t zeros[1000];
  fs_config config = rig_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &bystander);
  fill_outbox(&rig, &bystander, 1000);
  rig_join(&rig, &client);
  fs_reactor_publish(rig.reactor, 0, zeros, sizeof zeros, 0, &(uint64_t){0});
  fill_outbox(&rig, &client, 1000);
  CHECK_INT(make_room(&rig, 1000, &client, RIG_WAIT_NS), 0);
  rig_turn(&rig, 0);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  CHECK_INT(rig_reason(&rig, bystander.handle), -1);
  rig_close(&rig);
  client_close(&bystander);
  client_close(&client);
}

/* "No room now" must not be returned if there can never be any: the caller would wait forever. */
static void what_never_fits_is_not_waited_for(void) {
  static const uint8_t zeros[2000];
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.outbox_bytes_max = 1000;
  /* Such limits may be refused altogether. */
  int fd = rig_listen(AF_UNIX, &rig.address);
  if (fs_reactor_new(&rig.reactor, &config, &fd, 1) == -EINVAL) {
    fs_sys_close(fd);
    return;
  }
  rig_join(&rig, &client);
  int result = fs_reactor_send(rig.reactor, client.handle, zeros, sizeof zeros);
  if (result == FS_EOUTBOX) CHECK_INT(make_room(&rig, sizeof zeros, &client, 100 * RIG_MS_NS), 0);
  rig_close(&rig);
  client_close(&client);
}

/* ---- Ends of slow ones ---- */

/* The deadline of a close that a flush has begun. */
static void linger_begins_with_a_flush(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.linger_ns = 50 * RIG_MS_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  fs_reactor_flush(rig.reactor);
  uint64_t begun_ns = fs_sys_now_ns();
  while (rig_reason(&rig, client.handle) < 0) rig_turn(&rig, RIG_WAIT_NS);
  CHECK(fs_sys_now_ns() - begun_ns < RIG_WAIT_NS / 2);
  rig_close(&rig);
  client_close(&client);
}

/* Ends that wait for their peers: one that takes nothing, one that has closed its side and takes
 * nothing, and one that has all it gets and does not close. */
static void unfinished_ends_cost_no_turns(void) {
  struct rig rig = {0};
  struct client clients[3];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &clients[0]);
  rig_join(&rig, &clients[1]);
  rig_fill(&rig, &clients[0], 1000);
  rig_join(&rig, &clients[2]);
  fs_reactor_close_conn(rig.reactor, clients[0].handle, FS_REASON_LOCAL);
  shutdown(clients[1].fd, SHUT_WR);
  fs_reactor_close_conn(rig.reactor, clients[2].handle, FS_REASON_LOCAL);
  check_rests(&rig);
  CHECK_INT(client_conn(&rig, &clients[0])->state, FS_CLOSING);
  CHECK_INT(client_conn(&rig, &clients[1])->state, FS_CLOSING);
  CHECK_INT(client_conn(&rig, &clients[2])->state, FS_SHUT);
  rig_close(&rig);
  for (int i = 0; i < 3; i++) client_close(&clients[i]);
}

/* A listener that is stuck stops the speaker, and the speaker waits no longer than its grace. */
static void a_stuck_listener_frees_the_relay(void) {
  enum { LINE = 100, TOTAL = 6000 * LINE };
  static char lines[TOTAL];
  struct rig rig = {0};
  struct client stuck, listener, speaker;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  config.slow_grace_ns = GRACE_NS;
  memset(lines, 'x', sizeof lines);
  for (size_t i = LINE - 1; i < sizeof lines; i += LINE) lines[i] = '\n';
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &stuck);
  rig_join(&rig, &listener);
  rig_join(&rig, &speaker);
  for (size_t poured = 0; poured < TOTAL; client_pull(&listener)) {
    poured += client_pour(&speaker, lines + poured, TOTAL - poured);
    rig_turn(&rig, RIG_STEP_NS);
  }
  RIG_UNTIL(&rig, (client_pull(&listener), listener.got_len == TOTAL));
  CHECK_BYTES(listener.got, listener.got_len, lines, TOTAL);
  CHECK_INT(rig_reason(&rig, stuck.handle), FS_REASON_SLOW);
  CHECK_INT(rig_count(&rig, FS_DISCONNECTED), 1);
  rig_close(&rig);
  client_close(&stuck);
  client_close(&listener);
  client_close(&speaker);
}

/* A speaker that is held up and then closed ends with its peer, not with its linger. */
static void a_held_up_speaker_can_be_closed(void) {
  char line[2000] = {[1998] = '\n'};
  struct rig rig = {0};
  struct client stuck, speaker;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  rig_join(&rig, &speaker);
  memset(line, 'x', sizeof line - 2);
  client_say(&speaker, line);
  while (!client_conn(&rig, &speaker)->stalled) rig_turn(&rig, RIG_STEP_NS);
  fs_reactor_close_conn(rig.reactor, speaker.handle, FS_REASON_LOCAL);
  rig_ends(&rig, &speaker, "");
  client_close(&speaker);
  RIG_UNTIL(&rig, rig_reason(&rig, speaker.handle) == FS_REASON_LOCAL);
  rig_close(&rig);
  client_close(&stuck);
}

CHECK_UNIT(TEST(full_without_a_slow_reader), TEST(slow_consumer_has_its_grace),
           TEST(the_slowest_is_named), TEST(waiting_for_room_has_an_end),
           TEST(slow_in_no_threads_way), TEST(two_slow_consumers_apart),
           TEST(who_keeps_up_is_not_harmed), TEST(steady_but_slow_is_not_stuck),
           TEST(graces_run_at_the_same_time), TEST(blocked_after_a_long_pause),
           TEST(a_full_outbox_makes_its_owner_slow), TEST(a_full_outbox_that_empties),
           TEST(a_full_outbox_is_no_other_clients_fault), TEST(what_never_fits_is_not_waited_for),
           TEST(linger_begins_with_a_flush), TEST(unfinished_ends_cost_no_turns),
           TEST(a_stuck_listener_frees_the_relay), TEST(a_held_up_speaker_can_be_closed))
