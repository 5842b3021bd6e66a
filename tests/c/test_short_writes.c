/* Kernels that take less than they are offered, or nothing, at any moment: what each client is to
 * receive is known from a plain list, and so it must be. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "fault.h"
#include "rig.h"

enum { CLIENTS = 4, STREAM_MAX = 1 << 20 };

struct scene {
  struct rig rig;
  struct client clients[CLIENTS];
  uint8_t *want[CLIENTS];
  size_t want_len[CLIENTS];
  uint64_t want_count[CLIENTS];
  uint64_t said;
};

static void want(struct scene *s, int who, const char *text, size_t len) {
  CHECK(s->want_len[who] + len + 1 <= STREAM_MAX);
  memcpy(s->want[who] + s->want_len[who], text, len);
  s->want[who][s->want_len[who] + len] = '\n';
  s->want_len[who] += len + 1;
  s->want_count[who]++;
}

/* A socket that would have blocked becomes writable in the end. The kernel knows of no blocking
 * here, so its readiness is asked for anew. */
static void wake_blocked(struct rig *rig) {
  FS_LIST_EACH(link, &rig->reactor->conns.all) {
    fs_conn *conn = fs_container_of(link, fs_conn, link);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = conn->handle};
    if (conn->blocked)
      CHECK_INT(epoll_ctl(rig->reactor->poll.fd, EPOLL_CTL_MOD, conn->fd, &event), 0);
  }
}

static void turn(struct scene *s) {
  rig_turn(&s->rig, 0);
  wake_blocked(&s->rig);
}

static void pull_all(struct scene *s) {
  for (int i = 0; i < CLIENTS; i++) client_pull(&s->clients[i]);
}

/* ---- What may happen ---- */

static void publish(struct scene *s, const char *text, size_t len, int exclude) {
  uint64_t seq, handle = exclude < CLIENTS ? s->clients[exclude].handle : 0;
  int result;
  while ((result = fs_reactor_publish(s->rig.reactor, 0, (const uint8_t *)text, len, handle,
                                      &seq)) < 0) {
    CHECK(result == FS_EFULL || result == FS_EOUTBOX);
    pull_all(s);
    turn(s);
  }
  for (int i = 0; i < CLIENTS; i++)
    if (i != exclude) want(s, i, text, len);
}

static void send_to(struct scene *s, const char *text, size_t len, int who) {
  uint64_t handle = s->clients[who].handle;
  int result;
  while ((result = fs_reactor_send(s->rig.reactor, handle, (const uint8_t *)text, len)) < 0) {
    CHECK_INT(result, FS_EOUTBOX);
    pull_all(s);
    turn(s);
  }
  want(s, who, text, len);
}

/* Says it, and waits until it is relayed, so that its place in the order is known. */
static void say(struct scene *s, const char *text, size_t len, int who) {
  client_write(&s->clients[who], text, len);
  client_write(&s->clients[who], "\n", 1);
  s->said++;
  for (uint64_t begun_ns = fs_sys_now_ns(); s->rig.reactor->counters.messages_received < s->said;) {
    rig_in_time(begun_ns, __FILE__, __LINE__, "what was said is relayed");
    pull_all(s);
    turn(s);
  }
  for (int i = 0; i < CLIENTS; i++)
    if (i != who) want(s, i, text, len);
}

static void act(struct scene *s, size_t len_max) {
  static char text[1 << 13];
  size_t len = check_random() % len_max;
  int who = (int)(check_random() % CLIENTS);
  memset(text, 'a' + (int)(check_random() % 26), len);
  uint32_t what = check_random() % 8;
  if (what < 3) publish(s, text, len, CLIENTS);
  if (what == 3) publish(s, text, len, who);
  if (what == 4 || what == 5) send_to(s, text, len, who);
  if (what == 6) say(s, text, len, who);
  if (what == 7) client_pull(&s->clients[who]);
  if (check_random() % 4 == 0) turn(s);
}

static bool all_received(struct scene *s) {
  bool all = true;
  pull_all(s);
  for (int i = 0; i < CLIENTS; i++) all &= s->clients[i].got_len >= s->want_len[i];
  return all;
}

static void check_received(struct scene *s) {
  for (int i = 0; i < CLIENTS; i++) {
    fs_conn_stats stats;
    CHECK_BYTES(s->clients[i].got, s->clients[i].got_len, s->want[i], s->want_len[i]);
    CHECK_INT(fs_reactor_conn_stats(s->rig.reactor, s->clients[i].handle, &stats), 0);
    CHECK_INT(stats.messages_sent, s->want_count[i]);
    CHECK_INT(stats.bytes_sent, s->want_len[i]);
    CHECK_INT(stats.outbox_bytes, 0);
    CHECK_INT(stats.lag_messages, 0);
  }
}

static void play(int family, int count, size_t len_max, size_t (*limit)(int, size_t)) {
  static struct scene s;
  memset(&s, 0, sizeof s);
  fs_config config = rig_config();
  config.relay = FS_RELAY_OTHERS;
  rig_open(&s.rig, &config, family);
  atomic_store(&s.rig.reactor->report, false);
  for (int i = 0; i < CLIENTS; i++) {
    rig_join(&s.rig, &s.clients[i]);
    s.want[i] = malloc(STREAM_MAX);
  }
  fault_send_limit = limit;
  for (int i = 0; i < count; i++) act(&s, len_max);
  for (uint64_t begun_ns = fs_sys_now_ns(); !all_received(&s); turn(&s))
    rig_in_time(begun_ns, __FILE__, __LINE__, "all is received");
  turn(&s);
  check_received(&s);
  fault_send_limit = NULL;
  rig_close(&s.rig);
  for (int i = 0; i < CLIENTS; i++) {
    client_close(&s.clients[i]);
    free(s.want[i]);
  }
}

/* ---- Kernels ---- */

static size_t takes_all(int fd, size_t len) { return fd >= 0 ? len : 0; }
static size_t takes_a_byte(int fd, size_t len) { return fd >= 0 && len > 0; }

static size_t takes_some(int fd, size_t len) {
  (void)fd;
  uint32_t what = check_random() % 8;
  if (what == 0) return 0;
  if (what == 1) return len;
  size_t some = 1 + check_random() % (what == 2 ? 3 : 700);
  return fs_min(len, some);
}

static size_t often_takes_nothing(int fd, size_t len) {
  return check_random() % 5 ? 0 : takes_some(fd, len);
}

static void all_at_once(void) {
  play(AF_UNIX, 4000, 200, takes_all);
  play(AF_INET, 1000, 1000, takes_all);
}

static void byte_after_byte(void) { play(AF_UNIX, 150, 30, takes_a_byte); }

static void now_and_then(void) {
  play(AF_UNIX, 2000, 300, takes_some);
  play(AF_INET, 2000, 300, takes_some);
  play(AF_UNIX, 4000, 10, takes_some);
  play(AF_UNIX, 200, 4000, takes_some);
}

static void seldom(void) { play(AF_UNIX, 1000, 300, often_takes_nothing); }

CHECK_UNIT(TEST(all_at_once), TEST(byte_after_byte), TEST(now_and_then), TEST(seldom))
