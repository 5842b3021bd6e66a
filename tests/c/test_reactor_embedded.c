/* The reactor inside another event loop, which polls its descriptor: readable while a turn has
 * something to do, and only then. Here poll(2) is that loop. */
#include <poll.h>
#include <string.h>
#include <sys/resource.h>

#include "rig.h"

static void open_embedded(struct rig *rig, const fs_config *config, int family) {
  rig_open(rig, config, family);
  /* What fileno() of the Python face does. */
  fs_reactor_embed(rig->reactor);
  rig_turn(rig, 0);
}

static bool readable(const struct rig *rig, int64_t timeout_ns) {
  int result = fs_sys_poll(rig->reactor->poll.fd, POLLIN, timeout_ns);
  CHECK(result >= 0);
  return result == 1;
}

/* What a loop does: a turn whenever there is something to do. Comes to rest, or has failed. */
static void loop_until_rest(struct rig *rig) {
  for (int turns = 0; readable(rig, 0); rig_turn(rig, 0)) CHECK(turns++ < 1000);
}

static void loop_until_readable(struct rig *rig) {
  CHECK(readable(rig, RIG_WAIT_NS));
  loop_until_rest(rig);
}

static void join_embedded(struct rig *rig, struct client *client) {
  size_t before = rig_count(rig, FS_CONNECTED);
  rig_call(rig, client);
  while (rig_count(rig, FS_CONNECTED) == before) loop_until_readable(rig);
  client->handle = rig_last(rig, FS_CONNECTED)->handle;
}

static void check_got(struct client *client, const char *text) {
  client_pull(client);
  CHECK_BYTES(client->got, client->got_len, text, strlen(text));
  client->got_len = 0;
}

static void what_peers_do(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  open_embedded(&rig, &config, AF_INET);
  loop_until_rest(&rig);
  CHECK(!readable(&rig, 10 * RIG_MS_NS));
  for (int i = 1; i < 4; i++) {
    join_embedded(&rig, &client);
    client_say(&client, "hello\n");
    loop_until_readable(&rig);
    CHECK_INT(rig_count(&rig, FS_MESSAGE), i);
    client_close(&client);
    while (rig_reason(&rig, client.handle) < 0) loop_until_readable(&rig);
    CHECK(!readable(&rig, 10 * RIG_MS_NS));
  }
  rig_close(&rig);
}

static void what_publishers_do(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &client);
  for (int i = 0; i < 3; i++) {
    rig_publish(&rig, "to all", 0);
    rig_publish(&rig, "again", 0);
    loop_until_readable(&rig);
    check_got(&client, "to all\nagain\n");
    rig_send(&rig, &client, "to one");
    loop_until_readable(&rig);
    check_got(&client, "to one\n");
  }
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  loop_until_readable(&rig);
  client_pull(&client);
  CHECK(client.ended);
  client_close(&client);
  loop_until_readable(&rig);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_LOCAL);
  fs_reactor_close(rig.reactor, false);
  loop_until_readable(&rig);
  rig_close(&rig);
}

/* The loop begins to watch; no thread has taken a turn since. */
static void what_publishers_did_before(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_turn(&rig, 0);
  fs_reactor_embed(rig.reactor);
  rig_publish(&rig, "to all", 0);
  loop_until_readable(&rig);
  check_got(&client, "to all\n");
  rig_close(&rig);
  client_close(&client);
}

/* More than one turn takes: the next is asked for at once. */
static void what_is_left_of_a_turn(void) {
  enum { COUNT = 3 * FS_EVENTS_MAX };
  static char lines[COUNT];
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  memset(lines, '\n', sizeof lines);
  open_embedded(&rig, &config, AF_INET);
  join_embedded(&rig, &client);
  client_write(&client, lines, sizeof lines);
  while (rig_count(&rig, FS_MESSAGE) < COUNT) loop_until_readable(&rig);
  rig_close(&rig);
  client_close(&client);
}

static void what_is_due(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.linger_ns = 30 * RIG_MS_NS;
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &client);
  uint64_t begun_ns = fs_sys_now_ns();
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  while (rig_reason(&rig, client.handle) < 0) loop_until_readable(&rig);
  CHECK(fs_sys_now_ns() - begun_ns >= 30 * RIG_MS_NS);
  CHECK(!readable(&rig, 10 * RIG_MS_NS));
  rig_close(&rig);
  client_close(&client);
}

/* A caller that found no descriptor, and one beyond connections_max. */
static void who_has_to_wait(void) {
  struct rig rig = {0};
  struct client clients[2], last;
  struct rlimit limit, none;
  fs_config config = rig_config();
  config.connections_max = 2;
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &clients[0]);
  rig_call(&rig, &clients[1]);
  CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = (struct rlimit){.rlim_cur = 3, .rlim_max = limit.rlim_max};
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
  loop_until_readable(&rig);
  CHECK_INT(rig.reactor->counters.accept_errors, 1);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
  loop_until_readable(&rig);
  CHECK_INT(rig_count(&rig, FS_CONNECTED), 2);
  rig_call(&rig, &last);
  loop_until_readable(&rig);
  CHECK(!readable(&rig, 10 * RIG_MS_NS));
  client_close(&clients[0]);
  while (rig_count(&rig, FS_CONNECTED) < 3) loop_until_readable(&rig);
  rig_close(&rig);
  client_close(&clients[1]);
  client_close(&last);
}

static void blocked_clients_cost_no_turns(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &client);
  rig_fill(&rig, &client, 1000);
  loop_until_rest(&rig);
  CHECK(!readable(&rig, 10 * RIG_MS_NS));
  client_pull(&client);
  loop_until_readable(&rig);
  CHECK(!client_conn(&rig, &client)->blocked);
  rig_close(&rig);
  client_close(&client);
}

/* ---- A publisher's flush must leave nothing behind unreported ---- */

/* The flush has seen that a client has sent something. */
static void a_flush_hides_no_message(void) {
  struct rig rig = {0};
  struct client stuck, other;
  fs_config config = rig_config();
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  join_embedded(&rig, &other);
  client_say(&other, "hello\n");
  fs_reactor_flush(rig.reactor);
  loop_until_readable(&rig);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 1);
  rig_close(&rig);
  client_close(&stuck);
  client_close(&other);
}

/* The flush has taken the wake-up that was meant for the loop, and the next one must come. */
static void a_flush_takes_no_wake_up(void) {
  struct rig rig = {0};
  struct client stuck, other;
  fs_config config = rig_config();
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  join_embedded(&rig, &other);
  loop_until_rest(&rig);
  rig_send(&rig, &other, "one");
  fs_reactor_flush(rig.reactor);
  rig_send(&rig, &other, "two");
  loop_until_readable(&rig);
  check_got(&other, "one\ntwo\n");
  rig_close(&rig);
  client_close(&stuck);
  client_close(&other);
}

/* The flush has begun to close a connection: its linger must end. */
static void a_flush_sets_the_clock(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.linger_ns = 30 * RIG_MS_NS;
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &client);
  rig_fill(&rig, &client, 1000);
  loop_until_rest(&rig);
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  fs_reactor_flush(rig.reactor);
  while (rig_reason(&rig, client.handle) < 0) loop_until_readable(&rig);
  rig_close(&rig);
  client_close(&client);
}

/* Nor must the search for room, which has ended a connection. */
static void making_room_hides_no_end(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.slow_grace_ns = 0;
  open_embedded(&rig, &config, AF_UNIX);
  join_embedded(&rig, &client);
  rig_fill(&rig, &client, 1000);
  loop_until_rest(&rig);
  CHECK_INT(rig_make_room(rig.reactor, 0, 1000, 0, RIG_WAIT_NS), 0);
  loop_until_readable(&rig);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  rig_close(&rig);
  client_close(&client);
}

CHECK_UNIT(TEST(what_peers_do), TEST(what_publishers_do), TEST(what_publishers_did_before),
           TEST(what_is_left_of_a_turn), TEST(what_is_due), TEST(who_has_to_wait),
           TEST(blocked_clients_cost_no_turns), TEST(a_flush_hides_no_message),
           TEST(a_flush_takes_no_wake_up), TEST(a_flush_sets_the_clock),
           TEST(making_room_hides_no_end))
