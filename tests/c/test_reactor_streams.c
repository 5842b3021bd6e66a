/* The reactor's channels, policies, heartbeats and raw framing. */
#include <string.h>

#include "fault.h"
#include "rig.h"

static void publish_to(struct rig *rig, int channel, const char *text, uint64_t exclude) {
  uint64_t seq;
  CHECK(fs_reactor_publish(rig->reactor, (uint32_t)channel, (const uint8_t *)text, strlen(text),
                           exclude, &seq) >= 0);
}

static uint32_t add_channel(struct rig *rig, fs_policy policy) {
  int number = fs_reactor_add_channel(rig->reactor, 1 << 16, policy, 0);
  CHECK(number > 0);
  return (uint32_t)number;
}

static void who_subscribes_hears(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  for (int i = 0; i < 2; i++) rig_join(&rig, &clients[i]);
  uint32_t channel = add_channel(&rig, FS_POLICY_DISCONNECT);
  publish_to(&rig, 1, "to nobody", 0);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, clients[0].handle), 0);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, clients[0].handle), 0);
  publish_to(&rig, 1, "to one", 0);
  rig_receives(&rig, &clients[0], "to one\n");
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, clients[1].handle), 0);
  publish_to(&rig, 1, "to both", 0);
  publish_to(&rig, 1, "to the second", clients[0].handle);
  CHECK_INT(fs_reactor_unsubscribe(rig.reactor, channel, clients[1].handle), 0);
  publish_to(&rig, 1, "to the first", 0);
  rig_receives(&rig, &clients[0], "to both\nto the first\n");
  rig_receives(&rig, &clients[1], "to both\nto the second\n");
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, clients[1].handle), 0);
  publish_to(&rig, 1, "again", 0);
  rig_receives(&rig, &clients[1], "again\n");
  rig_receives(&rig, &clients[0], "again\n");
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, clients[0].handle + 100), FS_EGONE);
  rig_close(&rig);
  for (int i = 0; i < 2; i++) client_close(&clients[i]);
}

/* A stream's turn ends in the middle of a message, which is sent whole all the same. */
static void streams_take_turns_at_messages(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.flush_bytes = 5;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  uint32_t channel = add_channel(&rig, FS_POLICY_DISCONNECT);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, client.handle), 0);
  publish_to(&rig, 0, "first of all", 0);
  publish_to(&rig, 0, "second of all", 0);
  publish_to(&rig, 1, "first of the channel", 0);
  publish_to(&rig, 1, "4567", 0);
  rig_send(&rig, &client, "a direct message");
  rig_receives(&rig, &client,
               "first of all\nfirst of the channel\nsecond of all\n4567\na direct message\n");
  rig_close(&rig);
  client_close(&client);
}

/* A close does not bring back what the client had left before. */
static void left_and_then_closed(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  uint32_t channel = add_channel(&rig, FS_POLICY_DISCONNECT);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, client.handle), 0);
  publish_to(&rig, 1, "before", 0);
  CHECK_INT(fs_reactor_unsubscribe(rig.reactor, channel, client.handle), 0);
  publish_to(&rig, 1, "after", 0);
  rig_publish(&rig, "main", 0);
  CHECK_INT(fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL), 0);
  publish_to(&rig, 1, "behind the end", 0);
  rig_ends(&rig, &client, "main\nbefore\n");
  rig_close(&rig);
  client_close(&client);
}

/* A log without readers is never full, whatever the policy; nor is one that its reader has left. */
static void left_by_its_last_reader(void) {
  static const uint8_t zeros[1000];
  struct rig rig = {0};
  struct client client;
  uint64_t seq;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  uint32_t channel = add_channel(&rig, FS_POLICY_BLOCK);
  CHECK_INT(fs_reactor_subscribe(rig.reactor, channel, client.handle), 0);
  while (fs_reactor_publish(rig.reactor, channel, zeros, sizeof zeros, 0, &seq) >= 0)
    rig_turn(&rig, 0);
  CHECK_INT(rig_make_room(rig.reactor, channel, 1000, 0, 0), -ETIMEDOUT);
  client_close(&client);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) >= 0);
  for (int i = 0; i < 200; i++) {
    CHECK_INT(rig_make_room(rig.reactor, channel, 1000, 0, RIG_WAIT_NS), 0);
    publish_to(&rig, 1, "to nobody", 0);
  }
  rig_close(&rig);
}

/* Its losses are counted, whole messages are lost, and what comes is in order. */
static void dropping_the_oldest(void) {
  enum { COUNT = 3000 };
  struct rig rig = {0};
  struct client client;
  char text[301];
  fs_config config = rig_config();
  config.policy = FS_POLICY_DROP_OLDEST;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  for (int i = 0; i < COUNT; i++) {
    snprintf(text, sizeof text, "%0300d", i);
    while (fs_reactor_publish(rig.reactor, 0, (const uint8_t *)text, 300, 0, &(uint64_t){0}) < 0)
      CHECK_INT(rig_make_room(rig.reactor, 0, 300, 0, RIG_WAIT_NS), 0);
    if (i % 10 == 0) rig_turn(&rig, 0);
  }
  fs_waiter drain;
  fs_reactor_prepare(rig.reactor, &drain, FS_WAIT_DRAIN);
  RIG_UNTIL(&rig, (client_pull(&client), fs_reactor_met(rig.reactor, &drain)));
  RIG_UNTIL(&rig, rig_count(&rig, FS_GAP) > 0);
  client_pull(&client);
  fs_conn_stats stats;
  CHECK_INT(fs_reactor_conn_stats(rig.reactor, client.handle, &stats), 0);
  CHECK(stats.dropped > 0);
  CHECK_INT(client.got_len % 301, 0);
  CHECK_INT(stats.messages_sent, client.got_len / 301);
  CHECK_INT(stats.messages_sent + stats.dropped, COUNT);
  for (size_t at = 301; at < client.got_len; at += 301)
    CHECK(memcmp(client.got + at - 301, client.got + at, 300) < 0);
  CHECK(memcmp(client.got + client.got_len - 301, text, 300) == 0);
  rig_close(&rig);
  client_close(&client);
}

static void idle_clients(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.idle_timeout_ns = 100 * RIG_MS_NS;
  config.heartbeat_ns = 20 * RIG_MS_NS;
  rig_open(&rig, &config, AF_UNIX);
  uint64_t begun_ns = fs_sys_now_ns();
  rig_join(&rig, &client);
  while (rig_reason(&rig, client.handle) < 0) {
    rig_turn(&rig, RIG_WAIT_NS);
    client_pull(&client);
    if (client.ended) shutdown(client.fd, SHUT_WR);
  }
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_IDLE);
  CHECK(fs_sys_now_ns() - begun_ns >= 100 * RIG_MS_NS);
  CHECK(client.got_len > 0 && client.got[0] == '\n');
  rig_close(&rig);
  client_close(&client);
}

/* ---- A heartbeat that falls due while another thread closes the connection ---- */

static struct {
  struct rig *rig;
  const struct client *trigger, *closed;
  bool done;
} meanwhile;

/* What another thread may do while the reactor sends to the trigger. */
static size_t close_and_publish(int fd, size_t len) {
  const fs_conn *conn = fs_conns_find(&meanwhile.rig->reactor->conns, meanwhile.trigger->handle);
  if (!conn || fd != conn->fd || meanwhile.done) return len;
  meanwhile.done = true;
  fs_reactor_close_conn(meanwhile.rig->reactor, meanwhile.closed->handle, FS_REASON_LOCAL);
  rig_publish(meanwhile.rig, "behind the end", 0);
  return len;
}

static void a_heartbeat_behind_the_end(void) {
  struct rig rig = {0};
  struct client trigger, closed;
  fs_config config = rig_config();
  config.heartbeat_ns = 50 * RIG_MS_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &closed);
  rig_join(&rig, &trigger);
  /* Both are due for one in the next turn. */
  usleep(100000);
  meanwhile.rig = &rig;
  meanwhile.trigger = &trigger;
  meanwhile.closed = &closed;
  fault_send_limit = close_and_publish;
  rig_send(&rig, &trigger, "x");
  rig_turn(&rig, 0);
  fault_send_limit = NULL;
  CHECK(meanwhile.done);
  RIG_UNTIL(&rig, (client_pull(&closed), closed.ended));
  client_close(&closed);
  RIG_UNTIL(&rig, rig_reason(&rig, closed.handle) == FS_REASON_LOCAL);
  rig_close(&rig);
  client_close(&trigger);
}

/* ---- Raw framing ---- */

static void raw_bytes(void) {
  struct rig rig = {0};
  struct client clients[2];
  fs_config config = rig_config();
  config.codec = &fs_codec_raw;
  config.relay = FS_RELAY_OTHERS;
  rig_open(&rig, &config, AF_UNIX);
  for (int i = 0; i < 2; i++) rig_join(&rig, &clients[i]);
  client_say(&clients[0], "any\nbytes");
  rig_receives(&rig, &clients[1], "any\nbytes");
  rig_publish(&rig, "more", clients[1].handle);
  rig_send(&rig, &clients[1], "to you");
  rig_receives(&rig, &clients[0], "more");
  rig_receives(&rig, &clients[1], "to you");
  CHECK_INT(rig_last(&rig, FS_MESSAGE)->len, 9);
  rig_close(&rig);
  for (int i = 0; i < 2; i++) client_close(&clients[i]);
}

/* A message without a byte would take a place in the index that no reader ever frees. */
static void raw_messages_without_bytes(void) {
  struct rig rig = {0};
  struct client client;
  uint64_t seq;
  fs_config config = rig_config();
  config.codec = &fs_codec_raw;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, NULL, 0, 0, &seq), FS_EEMPTY);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle, NULL, 0), FS_EEMPTY);
  rig_publish(&rig, "a byte", 0);
  rig_receives(&rig, &client, "a byte");
  rig_close(&rig);
  client_close(&client);
}

CHECK_UNIT(TEST(who_subscribes_hears), TEST(streams_take_turns_at_messages),
           TEST(left_and_then_closed), TEST(left_by_its_last_reader), TEST(dropping_the_oldest),
           TEST(idle_clients), TEST(a_heartbeat_behind_the_end), TEST(raw_bytes),
           TEST(raw_messages_without_bytes))
