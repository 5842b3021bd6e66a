/* The relay: what one client says reaches the others without the program, or by its answer. */
#include <string.h>

#include "rig.h"

static void joined(struct rig *rig, struct client *clients, int count) {
  for (int i = 0; i < count; i++) rig_join(rig, &clients[i]);
}

static void left(struct client *clients, int count) {
  for (int i = 0; i < count; i++) client_close(&clients[i]);
}

static void relay(fs_relay rule, bool report) {
  struct rig rig = {0};
  struct client clients[3];
  fs_config config = rig_config();
  config.relay = rule;
  rig_open(&rig, &config, AF_INET);
  atomic_store(&rig.reactor->report, report);
  joined(&rig, clients, 3);
  client_say(&clients[0], "one\r\ntwo\npart");
  const char *own = rule == FS_RELAY_ALL ? "one\ntwo\n" : "";
  rig_receives(&rig, &clients[1], "one\ntwo\n");
  rig_receives(&rig, &clients[2], "one\ntwo\n");
  rig_receives(&rig, &clients[0], own);
  client_say(&clients[0], "ial\n");
  rig_receives(&rig, &clients[1], "partial\n");
  rig_publish(&rig, "end", 0);
  rig_receives(&rig, &clients[0], rule == FS_RELAY_ALL ? "partial\nend\n" : "end\n");
  CHECK_INT(rig_count(&rig, FS_MESSAGE), report ? 3 : 0);
  CHECK_INT(rig.reactor->counters.messages_received, 3);
  rig_close(&rig);
  left(clients, 3);
}

static void relay_to_others(void) {
  relay(FS_RELAY_OTHERS, false);
  relay(FS_RELAY_OTHERS, true);
}

static void relay_to_all(void) {
  relay(FS_RELAY_ALL, false);
  relay(FS_RELAY_ALL, true);
}

/* ---- Messages that are not relayed ---- */

static struct rig rig;
static struct client clients[2];

static void begin(const fs_codec *codec) {
  fs_config config = rig_config();
  rig = (struct rig){0};
  config.codec = codec;
  config.relay = FS_RELAY_OTHERS;
  config.relay_except = (fs_slice){(const uint8_t *)"end", 3};
  rig_open(&rig, &config, AF_INET);
  joined(&rig, clients, 2);
}

static void finish(void) {
  rig_close(&rig);
  left(clients, 2);
}

/* Turns until the program hears this; nothing behind it is looked at in that turn. */
static void heard(const char *text) {
  size_t before = rig_count(&rig, FS_MESSAGE);
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) > before);
  const rig_event *last = rig_last(&rig, FS_MESSAGE);
  CHECK_BYTES(last->data, last->len, text, strlen(text));
}

static void an_answer_takes_the_place_of_a_message(void) {
  begin(&fs_codec_line);
  client_say(&clients[0], "one\nendless\ntwo\nend\nthree\n");
  heard("endless");
  rig_publish(&rig, "first answer", clients[0].handle);
  heard("end");
  rig_publish(&rig, "second answer", clients[0].handle);
  rig_receives(&rig, &clients[1], "one\nfirst answer\ntwo\nsecond answer\nthree\n");
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 5);
  finish();
}

static void nothing_is_relayed_after_a_close_in_answer(void) {
  begin(&fs_codec_line);
  client_say(&clients[0], "one\nend\ntwo\n");
  heard("end");
  fs_reactor_close_conn(rig.reactor, clients[0].handle, FS_REASON_LOCAL);
  rig_ends(&rig, &clients[0], "");
  rig_publish(&rig, "last", 0);
  rig_receives(&rig, &clients[1], "one\nlast\n");
  finish();
}

/* However the bytes come: the pause may fall on an inbox, on nothing, and before an end. */
static void pieces(const fs_codec *codec, const char *bytes, size_t len, const char *relayed) {
  for (size_t cut = 0; cut <= len; cut++) {
    begin(codec);
    client_write(&clients[0], bytes, cut);
    for (int turns = 0; turns < 3; turns++) rig_turn(&rig, 0);
    client_write(&clients[0], bytes + cut, len - cut);
    shutdown(clients[0].fd, SHUT_WR);
    RIG_UNTIL(&rig, rig_count(&rig, FS_DISCONNECTED) == 1);
    rig_receives(&rig, &clients[1], relayed);
    CHECK_INT(rig_count(&rig, FS_MESSAGE), 5);
    finish();
  }
}

static void however_the_bytes_come(void) {
  static const char frames[] = "\0\0\0\1a\0\0\0\3end\0\0\0\5ended\0\0\0\2en\0\0\0\4bend";
  static const char lines[] = "a\nend\nended\r\nen\nbend\n";
  pieces(&fs_codec_line, lines, sizeof lines - 1, "a\nen\nbend\n");
  begin(&fs_codec_length);
  client_write(&clients[0], frames, sizeof frames - 1);
  heard("end");
  heard("ended");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 5);
  finish();
}

/* Where the program does not listen, these messages go nowhere, and the rest is relayed. */
static void no_client_reads(void) {
  begin(&fs_codec_line);
  atomic_store(&rig.reactor->report, false);
  client_say(&clients[0], "one\nend\ntwo\n");
  rig_receives(&rig, &clients[1], "one\ntwo\n");
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 0);
  finish();
}

CHECK_UNIT(TEST(relay_to_others), TEST(relay_to_all), TEST(an_answer_takes_the_place_of_a_message),
           TEST(nothing_is_relayed_after_a_close_in_answer), TEST(however_the_bytes_come),
           TEST(no_client_reads))
