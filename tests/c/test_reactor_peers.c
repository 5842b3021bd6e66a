/* The reactor among peers that do not behave: what they send, and when, is theirs to choose. */
#include <stdlib.h>
#include <string.h>

#include "engine/fs_receive.h"
#include "rig.h"

enum { MANY = 20 };

/* The text of the n-th message that was reported. */
static const char *said(const struct rig *rig, size_t n) {
  for (size_t i = 0; i < rig->event_count; i++)
    if (rig->events[i].kind == FS_MESSAGE && n-- == 0) return (const char *)rig->events[i].data;
  return "(nothing)";
}

static void check_said(const struct rig *rig, size_t n, const char *text) {
  CHECK_BYTES(said(rig, n), strlen(said(rig, n)), text, strlen(text));
}

/* A megabyte of lines of line_len bytes each. */
static const char *many_lines(size_t line_len) {
  static char lines[1 << 20];
  memset(lines, 'x', sizeof lines);
  for (size_t i = line_len - 1; i < sizeof lines; i += line_len) lines[i] = '\n';
  return lines;
}

/* ---- Ends ---- */

static void half_closed_peer_still_hears(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  client_say(&client, "question\nunfinished");
  shutdown(client.fd, SHUT_WR);
  rig_publish(&rig, "answer", 0);
  rig_ends(&rig, &client, "answer\n");
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 1);
  check_said(&rig, 0, "question");
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_UNFINISHED);
  rig_close(&rig);
  client_close(&client);
}

static void reset_in_the_middle_of_a_frame(void) {
  struct rig rig = {0};
  struct client client, other;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  rig_join(&rig, &other);
  client_say(&client, "whole\nhal");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  client_reset(&client);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_RESET);
  rig_publish(&rig, "still here", 0);
  rig_receives(&rig, &other, "still here\n");
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 1);
  rig_close(&rig);
  client_close(&other);
}

static void reset_of_a_blocked_peer(void) {
  struct rig rig = {.narrow = true};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  rig_send(&rig, &client, "direct");
  client_reset(&client);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_RESET);
  CHECK_INT(rig.reactor->channels[0]->log.tail, rig.reactor->channels[0]->log.head);
  rig_close(&rig);
}

/* The send finds the connection broken before its last words were read. */
static void last_words_before_a_reset(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  rig_publish(&rig, "never read", 0);
  rig_turn(&rig, 0);
  client_say(&client, "last words\n");
  /* A close with unread bytes is a reset. */
  client_close(&client);
  fs_conn *conn = client_conn(&rig, &client);
  for (int i = 0; i < 100 && conn->state == FS_OPEN; i++) {
    rig_publish(&rig, "to nobody", 0);
    fs_reactor_flush(rig.reactor);
  }
  CHECK_INT(conn->state, FS_BROKEN);
  CHECK_INT(fs_reactor_send(rig.reactor, client.handle, NULL, 0), FS_EGONE);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) >= 0);
  check_said(&rig, 0, "last words");
  rig_close(&rig);
}

static void callers_that_hang_up_at_once(void) {
  struct rig rig = {0};
  struct client client, last;
  fs_config config = rig_config();
  config.connections_max = 3;
  rig_open(&rig, &config, AF_INET);
  for (int i = 0; i < 30; i++) {
    rig_call(&rig, &client);
    if (i % 2)
      client_reset(&client);
    else
      client_close(&client);
  }
  rig_call(&rig, &last);
  client_say(&last, "me too\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) && !strcmp(said(&rig, 0), "me too"));
  rig_publish(&rig, "you alone", 0);
  rig_receives(&rig, &last, "you alone\n");
  RIG_UNTIL(&rig, rig.reactor->open_count == 1);
  CHECK_INT(rig_count(&rig, FS_DISCONNECTED), rig_count(&rig, FS_CONNECTED) - 1);
  rig_close(&rig);
  client_close(&last);
}

/* A peer that did not take its bytes in time does not find them behind an orderly end. */
static void who_is_cut_off_is_reset(void) {
  struct rig rig = {.narrow = true};
  struct client client;
  fs_config config = rig_config();
  config.linger_ns = 0;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_LOCAL);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_LOCAL);
  RIG_UNTIL(&rig, (client_pull(&client), client.ended));
  CHECK_INT(client.error, ECONNRESET);
  rig_close(&rig);
  client_close(&client);
}

/* What a closing peer still says is thrown away, and nothing else with it. */
static void talk_of_the_closing_spares_the_others(void) {
  struct rig rig = {0};
  struct client speaker, closing;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &speaker);
  rig_join(&rig, &closing);
  fs_reactor_close_conn(rig.reactor, closing.handle, FS_REASON_LOCAL);
  rig_ends(&rig, &closing, "");
  client_say(&speaker, "to be kept\n");
  client_say(&closing, "thrown away\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  check_said(&rig, 0, "to be kept");
  rig_close(&rig);
  client_close(&speaker);
  client_close(&closing);
}

/* ---- Sizes ---- */

/* A peer that sends this is closed, gets at most the reason, and harms no other. */
static void too_big(const fs_codec *codec, const char *bytes, size_t len) {
  struct rig rig = {0};
  struct client client, other;
  fs_config config = rig_config();
  config.codec = codec;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  rig_join(&rig, &other);
  client_write(&client, bytes, len);
  /* It goes on talking; that is thrown away. */
  for (int i = 0; i < 20; i++) {
    rig_turn(&rig, 0);
    (void)client_pour(&client, bytes, len);
  }
  rig_ends(&rig, &client, "");
  client_close(&client);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_TOO_BIG);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 0);
  CHECK_INT(rig.reactor->open_count, 1);
  rig_close(&rig);
  client_close(&other);
}

static void frames_too_big(void) {
  static char bytes[(1 << 13) + 2] = "\xff\xff\xff\xff";
  too_big(&fs_codec_length, bytes, 4);
  too_big(&fs_codec_length, bytes, sizeof bytes);
  too_big(&fs_codec_length, "\x00\x00\x20\x01", 4);
  memset(bytes, 'x', sizeof bytes);
  too_big(&fs_codec_line, bytes, sizeof bytes);
  bytes[sizeof bytes - 1] = '\n';
  too_big(&fs_codec_line, bytes, sizeof bytes);
}

static void the_biggest_frames(void) {
  static char bytes[(1 << 13) + 2];
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  memset(bytes, 'x', sizeof bytes);
  memcpy(bytes + (1 << 13), "\r\n", 2);
  client_write(&client, bytes, sizeof bytes);
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  CHECK_INT(rig_last(&rig, FS_MESSAGE)->len, 1 << 13);
  rig_close(&rig);
  client_close(&client);
}

static void byte_by_byte(void) {
  static const char line[] = "one\r\n\ntwo\n", length[] = "\0\0\0\3one\0\0\0\0\0\0\0\3two";
  for (int framing = 0; framing < 2; framing++) {
    struct rig rig = {0};
    struct client client;
    fs_config config = rig_config();
    config.codec = framing ? &fs_codec_length : &fs_codec_line;
    const char *bytes = framing ? length : line;
    size_t len = framing ? sizeof length - 1 : sizeof line - 1;
    rig_open(&rig, &config, AF_INET);
    rig_join(&rig, &client);
    for (size_t i = 0; i < len; i++) {
      client_write(&client, bytes + i, 1);
      RIG_UNTIL(&rig, client_conn(&rig, &client)->bytes_received == i + 1);
    }
    CHECK_INT(rig_count(&rig, FS_MESSAGE), 3);
    check_said(&rig, 0, "one");
    check_said(&rig, 1, "");
    check_said(&rig, 2, "two");
    rig_close(&rig);
    client_close(&client);
  }
}

/* TCP shows what lies before urgent data first, in a read of its own. */
static void urgent_data(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  client_say(&client, "before\n");
  CHECK_INT(send(client.fd, "!", 1, MSG_OOB), 1);
  client_say(&client, "after\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 2);
  check_said(&rig, 1, "after");
  rig_close(&rig);
  client_close(&client);
}

/* A UNIX socket shows what comes with a descriptor in a read of its own. */
static void descriptors_sent_along(void) {
  struct rig rig = {0};
  struct client client;
  char control[CMSG_SPACE(sizeof(int))] = {0}, text[] = "before\n";
  struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(header), &client.fd, sizeof(int));
  CHECK_INT(sendmsg(client.fd, &message, 0), iov.iov_len);
  client_say(&client, "after\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 2);
  check_said(&rig, 1, "after");
  rig_close(&rig);
  client_close(&client);
}

/* ---- More than one turn takes ---- */

static void messages_in_many_small_sends(void) {
  enum { COUNT = 3 * FS_EVENTS_MAX + 7 };
  struct rig rig = {0};
  struct client client;
  char text[16];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  for (int i = 0; i < COUNT; i++) {
    snprintf(text, sizeof text, "%d\n", i);
    client_say(&client, text);
    /* The kernel holds a few hundred of such small sends. */
    if (i % 100 == 99) rig_turn(&rig, 0);
  }
  shutdown(client.fd, SHUT_WR);
  RIG_UNTIL(&rig, rig_reason(&rig, client.handle) == FS_REASON_PEER);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), COUNT);
  for (size_t i = 1, n = 0; i < rig.event_count; i++) {
    if (rig.events[i].kind != FS_MESSAGE) continue;
    snprintf(text, sizeof text, "%zu", n++);
    CHECK_BYTES(rig.events[i].data, rig.events[i].len, text, strlen(text));
  }
  rig_close(&rig);
  client_close(&client);
}

/* What one read brings is more than the events of a turn; nothing is lost at the seams. */
static void more_messages_than_a_turn_reports(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &client);
  client_write(&client, many_lines(1), FS_READ_BYTES);
  for (size_t seen = 0; seen < FS_READ_BYTES;) {
    int count = rig_turn(&rig, RIG_WAIT_NS);
    CHECK(count > 0 && count <= FS_EVENTS_MAX);
    seen += (size_t)count;
  }
  CHECK_INT(rig_count(&rig, FS_MESSAGE), FS_READ_BYTES);
  rig_close(&rig);
  client_close(&client);
}

/* What becomes of no events is read in larger pieces. */
static void pieces_that_are_read(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  config.log_bytes = 1 << 20;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  CHECK(client_pour(&client, many_lines(1000), 1 << 20) > 2 * FS_READ_BYTES);
  rig_turn(&rig, RIG_WAIT_NS);
  CHECK_INT(rig.reactor->counters.bytes_received, FS_READ_BYTES);
  atomic_store(&rig.reactor->report, false);
  rig_turn(&rig, RIG_WAIT_NS);
  CHECK(rig.reactor->counters.bytes_received > 2 * FS_READ_BYTES);
  rig_close(&rig);
  client_close(&client);
}

static void more_bytes_than_the_arena_holds(void) {
  enum { LINE = 1000, EACH = 120 * LINE };
  struct rig rig = {0};
  struct client clients[MANY];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  for (int i = 0; i < MANY; i++) rig_join(&rig, &clients[i]);
  for (int i = 0; i < MANY; i++) client_write(&clients[i], many_lines(LINE), EACH);
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == MANY * EACH / LINE);
  for (int i = 0; i < MANY; i++)
    CHECK_INT(client_conn(&rig, &clients[i])->messages_received, EACH / LINE);
  CHECK_INT(rig_last(&rig, FS_MESSAGE)->len, LINE - 1);
  rig_close(&rig);
  for (int i = 0; i < MANY; i++) client_close(&clients[i]);
}

/* The speaker is read no further while the log is full; then nothing is missing. */
static void relay_stalls_and_resumes(void) {
  enum { LINE = 100, TOTAL = 5 << 16 };
  struct rig rig = {.narrow = true};
  struct client listener, speaker;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &listener);
  rig.narrow = false;
  rig_join(&rig, &speaker);
  const char *lines = many_lines(LINE);
  size_t poured = client_pour(&speaker, lines, TOTAL / LINE * LINE);
  CHECK(poured > 3 << 16);
  for (int i = 0; i < 100; i++) rig_turn(&rig, 0);
  const fs_conn *conn = client_conn(&rig, &speaker);
  CHECK(conn->stalled && conn->bytes_received < 3 << 16);
  /* It waits without turning in circles. */
  uint64_t turns = rig.reactor->counters.turns;
  rig_turn(&rig, 20 * RIG_MS_NS);
  CHECK_INT(rig.reactor->counters.turns, turns + 1);
  shutdown(speaker.fd, SHUT_WR);
  RIG_UNTIL(&rig, (client_pull(&listener), listener.got_len == poured / LINE * LINE));
  CHECK_BYTES(listener.got, listener.got_len, lines, listener.got_len);
  RIG_UNTIL(&rig, rig_reason(&rig, speaker.handle) == FS_REASON_PEER);
  rig_close(&rig);
  client_close(&listener);
  client_close(&speaker);
}

/* ---- Loud peers must not silence the others ---- */

/* One that fills the events of every turn. */
static void a_loud_client_silences_no_other(void) {
  struct rig rig = {0};
  struct client loud, quiet;
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &loud);
  rig_join(&rig, &quiet);
  CHECK(client_pour(&loud, many_lines(1), 1 << 20) > 10 * FS_READ_BYTES);
  CHECK_INT(rig_turn(&rig, RIG_WAIT_NS), FS_EVENTS_MAX);
  client_say(&quiet, "quiet\n");
  for (int turn = 0; turn < 5; turn++) rig_turn(&rig, RIG_STEP_NS);
  CHECK_INT(client_conn(&rig, &quiet)->messages_received, 1);
  rig_close(&rig);
  client_close(&loud);
  client_close(&quiet);
}

/* As many as fill the arena of every turn. */
static void loud_clients_silence_no_other(void) {
  struct rig rig = {0};
  struct client clients[MANY];
  fs_config config = rig_config();
  rig_open(&rig, &config, AF_UNIX);
  atomic_store(&rig.reactor->report, false);
  for (int i = 0; i < MANY; i++) rig_join(&rig, &clients[i]);
  for (int turn = 0; turn < 5; turn++) {
    for (int i = 0; i < MANY; i++) (void)client_pour(&clients[i], many_lines(1000), 1 << 20);
    rig_turn(&rig, RIG_STEP_NS);
  }
  for (int i = 0; i < MANY; i++) CHECK(client_conn(&rig, &clients[i])->bytes_received > 0);
  rig_close(&rig);
  for (int i = 0; i < MANY; i++) client_close(&clients[i]);
}

/* A client that has left is reported, however many messages there are to tell. */
static void a_loud_client_hides_no_end(void) {
  struct rig rig = {0};
  struct client loud, leaver;
  fs_config config = rig_config();
  config.linger_ns = 0;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &loud);
  rig_join(&rig, &leaver);
  CHECK(client_pour(&loud, many_lines(1), 1 << 20) > 10 * FS_READ_BYTES);
  fs_reactor_close_conn(rig.reactor, leaver.handle, FS_REASON_LOCAL);
  for (int turn = 0; turn < 5; turn++) rig_turn(&rig, RIG_STEP_NS);
  CHECK_INT(rig_reason(&rig, leaver.handle), FS_REASON_LOCAL);
  rig_close(&rig);
  client_close(&loud);
  client_close(&leaver);
}

/* Reads at most len bytes; whether text was among them. */
static bool hears(const struct client *client, size_t len, const char *text, size_t *heard) {
  static char bytes[1 << 16];
  ssize_t received = fs_sys_recv(client->fd, bytes, len);
  if (received > 0) *heard += (size_t)received;
  return received > 0 && memmem(bytes, (size_t)received, text, strlen(text));
}

/* Two speakers share the room that a slow listener leaves in the log. */
static void a_loud_speaker_leaves_room_for_others(void) {
  struct rig rig = {.narrow = true};
  struct client listener, loud, quiet;
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &listener);
  rig.narrow = false;
  rig_join(&rig, &loud);
  rig_join(&rig, &quiet);
  CHECK(client_pour(&loud, many_lines(100), 1 << 20) > 12 * FS_READ_BYTES);
  for (int i = 0; i < 50; i++) rig_turn(&rig, 0);
  /* As long as the lines of the other, so that it needs as much room. */
  char line[101] = "quiet";
  memset(line + 5, '.', 94);
  client_say(&quiet, strcat(line, "\n"));
  for (int i = 0; i < 50; i++) rig_turn(&rig, 0);
  size_t heard = 0;
  for (bool found = false; !found && heard < 8 * FS_READ_BYTES;) {
    rig_turn(&rig, 0);
    client_pull(&loud);
    client_pull(&quiet);
    found = hears(&listener, 2000, "quiet", &heard);
  }
  /* Before it lie the kernel's buffers, the log and what the loud one had had read. */
  CHECK(heard < 4 * FS_READ_BYTES);
  rig_close(&rig);
  client_close(&listener);
  client_close(&loud);
  client_close(&quiet);
}

static void a_turn_reports_a_few_messages_of_each(void) {
  struct rig rig = {0};
  struct client loud, quiet;
  fs_config config = rig_config();
  config.turn_messages_max = 2;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &loud);
  rig_join(&rig, &quiet);
  client_say(&loud, "1\n2\n3\n4\n5\n");
  client_say(&quiet, "quiet\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 6);
  size_t at = 0;
  while (strcmp(said(&rig, at), "quiet") != 0) at++;
  CHECK(at <= 4);
  CHECK(!strcmp(said(&rig, 5), "5"));
  rig_close(&rig);
  client_close(&loud);
  client_close(&quiet);
}

/* The driver takes 2 ms for each event, and is to have 8 ms for all: two of each. */
static void slow_messages_are_fewer_in_a_turn(void) {
  struct rig rig = {0};
  struct client loud[2], quiet;
  fs_config config = rig_config();
  config.turn_messages_max = 32;
  config.turn_ns = 8 * RIG_MS_NS;
  rig_open(&rig, &config, AF_INET);
  for (int i = 0; i < 2; i++) rig_join(&rig, &loud[i]);
  rig_join(&rig, &quiet);
  char lines[2 * 60 + 1] = "";
  for (int i = 0; i < 60; i++) memcpy(lines + 2 * i, "x\n", 2);
  for (int i = 0; i < 2; i++) client_say(&loud[i], lines);
  size_t most = 0;
  for (int turns = 0; rig_count(&rig, FS_MESSAGE) < 100; turns++) {
    size_t before = rig_count(&rig, FS_MESSAGE);
    CHECK(rig_turn(&rig, RIG_STEP_NS) >= 0);
    size_t count = rig_count(&rig, FS_MESSAGE) - before;
    usleep((useconds_t)(2000 * count));
    if (turns == 4) client_say(&quiet, "quiet\n");
    if (turns > 0) most = count > most ? count : most;
  }
  CHECK(most >= 2 && most <= 2 * 2 + 1);
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 121);
  rig_close(&rig);
  for (int i = 0; i < 2; i++) client_close(&loud[i]);
  client_close(&quiet);
}

static void strangers_send_little(void) {
  struct rig rig = {0};
  struct client stranger, friend;
  fs_config config = rig_config();
  config.first_bytes_max = 4;
  rig_open(&rig, &config, AF_INET);
  rig_join(&rig, &stranger);
  rig_join(&rig, &friend);
  CHECK_INT(fs_reactor_trust(rig.reactor, friend.handle), 0);
  CHECK_INT(fs_reactor_trust(rig.reactor, friend.handle + 100), FS_EGONE);
  client_say(&friend, "more than four\n");
  client_say(&stranger, "more than four\n");
  RIG_UNTIL(&rig, rig_count(&rig, FS_MESSAGE) == 1);
  client_close(&stranger);
  RIG_UNTIL(&rig, rig_reason(&rig, stranger.handle) == FS_REASON_TOO_BIG);
  CHECK_INT(rig_count(&rig, FS_MESSAGE), 1);
  rig_close(&rig);
  client_close(&friend);
}

CHECK_UNIT(TEST(half_closed_peer_still_hears), TEST(reset_in_the_middle_of_a_frame),
           TEST(reset_of_a_blocked_peer), TEST(last_words_before_a_reset),
           TEST(callers_that_hang_up_at_once), TEST(who_is_cut_off_is_reset),
           TEST(talk_of_the_closing_spares_the_others), TEST(frames_too_big),
           TEST(the_biggest_frames), TEST(byte_by_byte), TEST(urgent_data),
           TEST(descriptors_sent_along), TEST(messages_in_many_small_sends),
           TEST(more_messages_than_a_turn_reports), TEST(pieces_that_are_read),
           TEST(more_bytes_than_the_arena_holds), TEST(relay_stalls_and_resumes),
           TEST(a_loud_client_silences_no_other), TEST(loud_clients_silence_no_other),
           TEST(a_loud_client_hides_no_end), TEST(a_loud_speaker_leaves_room_for_others),
           TEST(a_turn_reports_a_few_messages_of_each), TEST(slow_messages_are_fewer_in_a_turn),
           TEST(strangers_send_little))
