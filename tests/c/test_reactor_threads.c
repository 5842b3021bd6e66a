/* The reactor and other threads: publishers, waiters, and which of them drives when. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "fault.h"
#include "rig.h"

#define GRACE_NS (200 * RIG_MS_NS)

/* Clients that are silent when the server closes are cut off at once. */
static fs_config hasty_config(void) {
  fs_config config = rig_config();
  config.linger_ns = 0;
  return config;
}

/* ---- Threads that do one thing ---- */

/* Drives until the reactor is closed, sleeping as long as it can. */
static void *drive(void *arg) {
  struct rig *rig = arg;
  fs_waiter closed;
  fs_reactor_prepare(rig->reactor, &closed, FS_WAIT_CLOSED);
  while (!fs_reactor_met(rig->reactor, &closed)) rig_turn(rig, -1);
  return NULL;
}

static pthread_t start_driver(struct rig *rig) {
  pthread_t thread;
  CHECK_INT(pthread_create(&thread, NULL, drive, rig), 0);
  return thread;
}

static void stop_driver(struct rig *rig, pthread_t thread) {
  fs_waiter closed;
  fs_reactor_close(rig->reactor, false);
  fs_reactor_prepare(rig->reactor, &closed, FS_WAIT_CLOSED);
  CHECK_INT(fs_reactor_wait(rig->reactor, &closed, RIG_WAIT_NS), 0);
  CHECK(fs_reactor_met(rig->reactor, &closed));
  pthread_join(thread, NULL);
}

/* Waits for room, or for something else. */
struct waiting {
  struct rig *rig;
  const struct client *client; /* in its outbox; NULL: in the log */
  fs_waiter *waiter;           /* for this; NULL: for room */
  int64_t limit_ns;
  pthread_t thread;
  _Atomic pid_t tid;
  atomic_bool done;
  int result;
};

static void *wait_in_thread(void *arg) {
  struct waiting *w = arg;
  atomic_store(&w->tid, (pid_t)syscall(SYS_gettid));
  w->result = w->waiter ? fs_reactor_wait(w->rig->reactor, w->waiter, w->limit_ns)
                        : rig_make_room(w->rig->reactor, 0, 1000, w->client ? w->client->handle : 0,
                                        w->limit_ns);
  atomic_store(&w->done, true);
  return NULL;
}

static bool sleeps(pid_t tid) {
  char path[64], state = '?';
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
  FILE *stat = fopen(path, "r");
  if (!stat) return false;
  CHECK_INT(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
  fclose(stat);
  return state == 'S';
}

static size_t waiter_count(struct rig *rig) {
  size_t count = 0;
  pthread_mutex_lock(&rig->reactor->lock);
  FS_LIST_EACH(link, &rig->reactor->waiters) count++;
  pthread_mutex_unlock(&rig->reactor->lock);
  return count;
}

/* Begins to wait, and does wait. */
static void start_waiting(struct waiting *w) {
  size_t before = waiter_count(w->rig);
  CHECK_INT(pthread_create(&w->thread, NULL, wait_in_thread, w), 0);
  RIG_AWAIT(waiter_count(w->rig) > before && sleeps(w->tid));
}

static int result_of(struct waiting *w) {
  RIG_AWAIT(w->done);
  pthread_join(w->thread, NULL);
  return w->result;
}

static bool pulled(struct client *client, size_t len) {
  client_pull(client);
  return client->got_len >= len;
}

/* ---- Wake-ups ---- */

struct publisher {
  struct rig *rig;
  int number, count;
  bool wait_each; /* until the reactor has flushed it, and is about to sleep again */
  pthread_t thread;
};

static void *publish_on(void *arg) {
  struct publisher *p = arg;
  fs_reactor *reactor = p->rig->reactor;
  for (int i = 0; i < p->count; i++) {
    char text[32];
    uint64_t seq;
    int result, len = snprintf(text, sizeof text, "%d %d", p->number, i);
    while ((result = fs_reactor_publish(reactor, 0, (uint8_t *)text, (size_t)len, 0, &seq)) < 0) {
      CHECK_INT(result, FS_EFULL);
      CHECK_INT(rig_make_room(reactor, 0, (size_t)len, 0, RIG_WAIT_NS), 0);
    }
    if (result == 1) fs_reactor_flush(reactor);
    uint64_t head = reactor->channels[0]->log.head, begun_ns = fs_sys_now_ns();
    while (p->wait_each && reactor->channels[0]->flushed < head) {
      rig_in_time(begun_ns, __FILE__, __LINE__, "the sleeping reactor has flushed");
      sched_yield();
    }
  }
  return NULL;
}

static void start_publishers(struct publisher *publishers, int count) {
  for (int i = 0; i < count; i++)
    CHECK_INT(pthread_create(&publishers[i].thread, NULL, publish_on, &publishers[i]), 0);
}

/* Every one of these needs its own wake-up; a lost one ends the test. */
static void no_wake_up_is_lost(void) {
  struct rig rig = {0};
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_INET);
  pthread_t driver = start_driver(&rig);
  struct publisher publishers[2];
  for (int i = 0; i < 2; i++)
    publishers[i] = (struct publisher){.rig = &rig, .number = i, .count = 4000, .wait_each = true};
  start_publishers(publishers, 2);
  for (int i = 0; i < 2; i++) pthread_join(publishers[i].thread, NULL);
  stop_driver(&rig, driver);
  rig_close(&rig);
}

/* Two publishers at full speed: each is heard in its own order, whole. */
static void publishers_keep_their_order(void) {
  enum { COUNT = 20000 };
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  pthread_t driver = start_driver(&rig);
  struct publisher publishers[2];
  for (int i = 0; i < 2; i++)
    publishers[i] = (struct publisher){.rig = &rig, .number = i, .count = COUNT};
  start_publishers(publishers, 2);
  int next[2] = {0};
  while (next[0] + next[1] < 2 * COUNT) {
    char line[64];
    size_t len = 0;
    do
      while (recv(client.fd, &line[len], 1, 0) != 1) continue;
    while (line[len++] != '\n' && len < sizeof line);
    int number = line[0] == '1';
    char expected[64];
    int expected_len = snprintf(expected, sizeof expected, "%d %d\n", number, next[number]++);
    CHECK_BYTES(line, len, expected, (size_t)expected_len);
  }
  for (int i = 0; i < 2; i++) pthread_join(publishers[i].thread, NULL);
  stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&client);
}

static void waiters_are_told(void) {
  struct rig rig = {0};
  struct client client;
  fs_waiter count, drain;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_INET);
  pthread_t driver = start_driver(&rig);
  fs_reactor_prepare(rig.reactor, &count, FS_WAIT_COUNT);
  count.count = 1;
  CHECK_INT(fs_reactor_wait(rig.reactor, &count, 20 * RIG_MS_NS), -ETIMEDOUT);
  struct waiting w = {.rig = &rig, .waiter = &count, .limit_ns = -1};
  start_waiting(&w);
  rig_call(&rig, &client);
  CHECK_INT(result_of(&w), 0);
  for (int i = 0; i < 500; i++) {
    rig_publish(&rig, "x", 0);
    fs_reactor_prepare(rig.reactor, &drain, FS_WAIT_DRAIN);
    CHECK_INT(fs_reactor_wait(rig.reactor, &drain, RIG_WAIT_NS), 0);
    CHECK(fs_reactor_met(rig.reactor, &drain));
  }
  CHECK_INT(waiter_count(&rig), 0);
  stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&client);
}

/* ---- Everything at once ---- */

struct meddler {
  struct rig *rig;
  uint64_t spared;
  atomic_bool stop;
};

/* Sends to, asks about and closes any connection it finds, but for one. */
static void *meddle(void *arg) {
  struct meddler *m = arg;
  fs_reactor *reactor = m->rig->reactor;
  for (uint64_t round = 0; !atomic_load(&m->stop); round++) {
    uint64_t handles[16], numbers[16];
    fs_totals totals;
    uint32_t count = fs_reactor_open_handles(reactor, handles, numbers, 16);
    for (uint32_t i = 0; i < fs_min(count, 16u); i++) {
      fs_conn_stats stats;
      fs_addr peer;
      (void)fs_reactor_conn_stats(reactor, handles[i], &stats);
      (void)fs_reactor_peer(reactor, handles[i], &peer);
      if (handles[i] == m->spared) continue;
      (void)fs_reactor_send(reactor, handles[i], (const uint8_t *)"to you", 6);
      if ((round + i) % 3 == 0) fs_reactor_close_conn(reactor, handles[i], FS_REASON_LOCAL);
    }
    fs_reactor_totals(reactor, &totals);
    fs_reactor_flush(reactor);
  }
  return NULL;
}

static void everything_at_once(void) {
  struct rig rig = {0};
  struct client steady, passing[8];
  fs_config config = hasty_config();
  config.slow_grace_ns = 5000 * RIG_MS_NS;
  config.linger_ns = 20 * RIG_MS_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &steady);
  pthread_t driver = start_driver(&rig), meddling;
  struct meddler meddler = {.rig = &rig, .spared = steady.handle};
  CHECK_INT(pthread_create(&meddling, NULL, meddle, &meddler), 0);
  struct publisher publishers[2];
  for (int i = 0; i < 2; i++)
    publishers[i] = (struct publisher){.rig = &rig, .number = i, .count = 3000};
  start_publishers(publishers, 2);
  for (int i = 0; i < 300; i++) {
    struct client *one = &passing[i % 8];
    if (i >= 8) client_close(one);
    rig_call(&rig, one);
    (void)client_pour(one, "hello\nand a half", 16);
    if (i % 2) client_pull(one);
    client_pull(&steady);
  }
  for (int i = 0; i < 8; i++) client_close(&passing[i]);
  size_t expected = 0;
  char text[32];
  for (int i = 0; i < 3000; i++) expected += 2 * (size_t)snprintf(text, 32, "0 %d\n", i);
  RIG_AWAIT(pulled(&steady, expected));
  CHECK_INT(steady.got_len, expected);
  for (int i = 0; i < 2; i++) pthread_join(publishers[i].thread, NULL);
  atomic_store(&meddler.stop, true);
  pthread_join(meddling, NULL);
  stop_driver(&rig, driver);
  CHECK_INT(rig_count(&rig, FS_CONNECTED), rig_count(&rig, FS_DISCONNECTED));
  rig_close(&rig);
  client_close(&steady);
}

static void *send_until_gone(void *arg) {
  struct waiting *w = arg;
  const uint8_t *text = (const uint8_t *)"x";
  while (fs_reactor_send(w->rig->reactor, w->client->handle, text, 1) != FS_EGONE) continue;
  return NULL;
}

/* A close and its reason arrive together, however busy the connection is. */
static void closed_while_being_sent_to(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  pthread_t driver = start_driver(&rig);
  for (int i = 1; i <= 200; i++) {
    uint64_t number;
    fs_waiter waiter;
    struct waiting sender = {.rig = &rig, .client = &client};
    fs_reactor_prepare(rig.reactor, &waiter, FS_WAIT_COUNT);
    waiter.count = 1;
    rig_call(&rig, &client);
    CHECK_INT(fs_reactor_wait(rig.reactor, &waiter, RIG_WAIT_NS), 0);
    CHECK_INT(fs_reactor_open_handles(rig.reactor, &client.handle, &number, 1), 1);
    CHECK_INT(pthread_create(&sender.thread, NULL, send_until_gone, &sender), 0);
    fs_reactor_close_conn(rig.reactor, client.handle, FS_REASON_HANDLER);
    pthread_join(sender.thread, NULL);
    client_close(&client);
    RIG_AWAIT(rig.reactor->counters.ended[FS_REASON_HANDLER] == (uint64_t)i);
  }
  stop_driver(&rig, driver);
  rig_close(&rig);
}

static void asked_whether_it_is_closed(void) {
  for (int i = 0; i < 30; i++) {
    struct rig rig = {0};
    fs_waiter closed;
    fs_config config = hasty_config();
    rig_open(&rig, &config, AF_UNIX);
    pthread_t driver = start_driver(&rig);
    fs_reactor_prepare(rig.reactor, &closed, FS_WAIT_CLOSED);
    RIG_AWAIT(rig.reactor->asleep);
    fs_reactor_close(rig.reactor, false);
    while (!fs_reactor_met(rig.reactor, &closed)) sched_yield();
    pthread_join(driver, NULL);
    rig_close(&rig);
  }
}

/* ---- Waiting for room ---- */

static void a_sleeping_reactor_makes_room(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  pthread_t driver = start_driver(&rig);
  struct waiting w = {.rig = &rig, .limit_ns = -1};
  start_waiting(&w);
  CHECK_INT(result_of(&w), 0);
  stop_driver(&rig, driver);
  CHECK_INT(rig_reason(&rig, client.handle), FS_REASON_SLOW);
  rig_close(&rig);
  client_close(&client);
}

/* What comes true at the beginning of a turn, without a byte sent, is told before the turn sleeps.
 */
static void told_before_the_turn_sleeps(void) {
  struct rig rig = {0};
  struct client client, other;
  fs_waiter drain;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_join(&rig, &other);
  client_say(&other, "hello\n");
  CHECK_INT(fs_reactor_turn(rig.reactor, RIG_WAIT_NS), 1);
  rig_publish(&rig, "for nobody", client.handle);
  fs_reactor_prepare(rig.reactor, &drain, FS_WAIT_DRAIN);
  struct waiting w = {.rig = &rig, .waiter = &drain, .limit_ns = RIG_WAIT_NS / 2};
  start_waiting(&w);
  /* A driver takes over before the waiter does. */
  atomic_fetch_add(&rig.reactor->turn_wanted, 1);
  fs_reactor_consumed(rig.reactor);
  pthread_t driver = start_driver(&rig);
  RIG_AWAIT(rig.reactor->asleep);
  atomic_fetch_sub(&rig.reactor->turn_wanted, 1);
  CHECK_INT(result_of(&w), 0);
  stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&client);
  client_close(&other);
}

/* A thread that begins to wait while the events of a turn are still read is not forgotten. */
static void waiting_begins_between_two_turns(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  config.slow_grace_ns = GRACE_NS;
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  client_say(&client, "hello\n");
  CHECK_INT(fs_reactor_turn(rig.reactor, RIG_WAIT_NS), 1);
  struct waiting w = {.rig = &rig, .limit_ns = -1};
  start_waiting(&w);
  fs_reactor_consumed(rig.reactor);
  pthread_t driver = start_driver(&rig);
  CHECK_INT(result_of(&w), 0);
  stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&client);
}

/* Two threads wait and none drives: when the first has its room, the second must not wait
 * forever. */
static void who_drives_hands_over(void) {
  struct rig rig = {0};
  struct client clients[2];
  struct waiting waits[2];
  static const uint8_t zeros[1000];
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  for (int i = 0; i < 2; i++) {
    rig_join(&rig, &clients[i]);
    while (fs_reactor_send(rig.reactor, clients[i].handle, zeros, sizeof zeros) == 0)
      rig_turn(&rig, 0);
  }
  for (int i = 0; i < 2; i++) {
    waits[i] = (struct waiting){.rig = &rig, .client = &clients[i], .limit_ns = -1};
    start_waiting(&waits[i]);
  }
  for (int i = 0; i < 2; i++) {
    client_pull(&clients[i]);
    CHECK_INT(result_of(&waits[i]), 0);
  }
  rig_close(&rig);
  for (int i = 0; i < 2; i++) client_close(&clients[i]);
}

/* Whatever a thread waits for, and whatever else there is to do that a flush does not do: it
 * sleeps. */
static void waiting_costs_nothing(bool driven) {
  struct rig rig = {0};
  struct client stuck, other;
  struct waiting waits[2];
  struct timespec begun, now;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  rig_join(&rig, &other);
  pthread_t driver = 0;
  if (driven) driver = start_driver(&rig);
  for (int i = 0; i < 2; i++) {
    waits[i] = (struct waiting){.rig = &rig, .limit_ns = -1};
    start_waiting(&waits[i]);
  }
  client_say(&other, "hello\n");
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
  usleep(200000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  int64_t used_ns = (now.tv_sec - begun.tv_sec) * 1000000000 + now.tv_nsec - begun.tv_nsec;
  CHECK(used_ns < 50 * RIG_MS_NS);
  client_pull(&stuck);
  for (int i = 0; i < 2; i++) CHECK_INT(result_of(&waits[i]), 0);
  if (driven) stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&stuck);
  client_close(&other);
}

static void waiting_for_the_driver_costs_nothing(void) { waiting_costs_nothing(true); }
static void waiting_as_the_driver_costs_nothing(void) { waiting_costs_nothing(false); }

static void closing_ends_the_wait(bool driven) {
  struct rig rig = {0};
  struct client client;
  uint64_t seq;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  rig_fill(&rig, &client, 1000);
  pthread_t driver = 0;
  if (driven) driver = start_driver(&rig);
  struct waiting w = {.rig = &rig, .limit_ns = -1};
  start_waiting(&w);
  fs_reactor_close(rig.reactor, false);
  (void)result_of(&w);
  CHECK_INT(fs_reactor_publish(rig.reactor, 0, NULL, 0, 0, &seq), FS_ECLOSED);
  if (driven) pthread_join(driver, NULL);
  rig_close(&rig);
  client_close(&client);
}

static void closing_ends_a_wait_for_the_driver(void) { closing_ends_the_wait(true); }
static void closing_ends_a_wait_of_the_driver(void) { closing_ends_the_wait(false); }

/* A publisher that began to wait before any thread drove does not keep the driver from its work. */
static void a_waiting_publisher_lets_others_be_served(void) {
  struct rig rig = {0};
  struct client stuck, other;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  rig_join(&rig, &other);
  struct waiting w = {.rig = &rig, .limit_ns = -1};
  start_waiting(&w);
  pthread_t driver = start_driver(&rig);
  rig_send(&rig, &other, "hello");
  RIG_AWAIT(pulled(&other, 6));
  client_pull(&stuck);
  CHECK_INT(result_of(&w), 0);
  stop_driver(&rig, driver);
  rig_close(&rig);
  client_close(&stuck);
  client_close(&other);
}

static void *turn_once(void *arg) {
  struct waiting *turn = arg;
  rig_turn(turn->rig, 0);
  atomic_store(&turn->done, true);
  return NULL;
}

/* Nor from a turn that may not wait. */
static void a_waiting_publisher_lets_the_driver_turn(void) {
  struct rig rig = {0};
  struct client stuck, other;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &stuck);
  rig_fill(&rig, &stuck, 1000);
  rig_call(&rig, &other);
  struct waiting w = {.rig = &rig, .limit_ns = -1}, turn = {.rig = &rig};
  start_waiting(&w);
  CHECK_INT(pthread_create(&turn.thread, NULL, turn_once, &turn), 0);
  RIG_AWAIT(turn.done);
  pthread_join(turn.thread, NULL);
  CHECK_INT(rig_count(&rig, FS_CONNECTED), 2);
  client_pull(&stuck);
  CHECK_INT(result_of(&w), 0);
  rig_close(&rig);
  client_close(&stuck);
  client_close(&other);
}

/* ---- Flushing ---- */

/* The turn is over but for its events, and may be the last for long: a thread that asks it to flush
 * is not told that it will if it does not. */
static void a_flush_behind_the_flush_of_a_turn(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  client_say(&client, "hello\n");
  CHECK_INT(fs_reactor_turn(rig.reactor, RIG_WAIT_NS), 1);
  rig_publish(&rig, "answer", 0);
  fs_reactor_flush(rig.reactor);
  CHECK(fs_reactor_consumed(rig.reactor));
  fs_reactor_catch_up(rig.reactor);
  RIG_AWAIT(pulled(&client, 7));
  rig_close(&rig);
  client_close(&client);
}

static struct {
  struct rig *rig;
  int asked;
} busy;

/* In the middle of each flush a thread publishes, and asks for another one. */
static size_t ask_again(int fd, size_t len) {
  (void)fd;
  busy.asked++;
  rig_publish(busy.rig, "more", 0);
  atomic_store(&busy.rig->reactor->flush_wanted, true);
  return len;
}

/* A driver with events flushes once more for others, however often they ask. */
static void a_driver_goes_on_to_its_events(void) {
  struct rig rig = {0};
  struct client client;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  client_say(&client, "hello\n");
  CHECK_INT(fs_reactor_turn(rig.reactor, RIG_WAIT_NS), 1);
  rig_publish(&rig, "first", 0);
  fs_reactor_flush(rig.reactor);
  CHECK(fs_reactor_consumed(rig.reactor));
  busy.rig = &rig;
  fault_send_limit = ask_again;
  fault_on();
  fs_reactor_catch_up(rig.reactor);
  fault_off();
  fault_send_limit = NULL;
  CHECK_INT(busy.asked, 1);
  fs_reactor_flush(rig.reactor);
  RIG_AWAIT(pulled(&client, strlen("first\nmore\n")));
  rig_close(&rig);
  client_close(&client);
}

/* ---- A wake-up that comes late ---- */

static struct {
  int fd;
  atomic_bool held, go;
} late;

static void hold_up(int fd) {
  if (fd != late.fd || atomic_exchange(&late.held, true)) return;
  for (int i = 0; i < 10000 && !atomic_load(&late.go); i++) usleep(200);
}

static void *close_late(void *arg) {
  fs_reactor_close(((struct rig *)arg)->reactor, false);
  return NULL;
}

/* A thread that wakes the reactor must not write to a descriptor that has another owner by then. */
static void a_late_wake_up_writes_nowhere(void) {
  struct rig rig = {0};
  struct client client;
  pthread_t closer;
  fs_config config = hasty_config();
  rig_open(&rig, &config, AF_UNIX);
  rig_join(&rig, &client);
  pthread_t driver = start_driver(&rig);
  late.fd = rig.reactor->wake_fd;
  RIG_AWAIT(rig.reactor->asleep);
  fault_before_write = hold_up;
  CHECK_INT(pthread_create(&closer, NULL, close_late, &rig), 0);
  RIG_AWAIT(late.held);
  /* The reactor wakes up without it, and closes. */
  client_say(&client, "hello\n");
  client_close(&client);
  for (int i = 0; i < 500 && fcntl(late.fd, F_GETFD) >= 0; i++) usleep(1000);
  bool gone = fcntl(late.fd, F_GETFD) < 0;
  int stranger = eventfd(0, EFD_NONBLOCK), successor = gone ? dup2(stranger, late.fd) : -1;
  atomic_store(&late.go, true);
  pthread_join(closer, NULL);
  pthread_join(driver, NULL);
  fault_before_write = NULL;
  uint64_t count;
  CHECK(read(stranger, &count, sizeof count) < 0);
  fs_sys_close(stranger);
  if (successor >= 0) fs_sys_close(successor);
  rig_close(&rig);
}

CHECK_UNIT(TEST(no_wake_up_is_lost), TEST(publishers_keep_their_order), TEST(waiters_are_told),
           TEST(everything_at_once), TEST(closed_while_being_sent_to),
           TEST(asked_whether_it_is_closed), TEST(a_sleeping_reactor_makes_room),
           TEST(waiting_begins_between_two_turns), TEST(told_before_the_turn_sleeps),
           TEST(who_drives_hands_over), TEST(waiting_for_the_driver_costs_nothing),
           TEST(waiting_as_the_driver_costs_nothing), TEST(closing_ends_a_wait_for_the_driver),
           TEST(closing_ends_a_wait_of_the_driver), TEST(a_waiting_publisher_lets_others_be_served),
           TEST(a_waiting_publisher_lets_the_driver_turn), TEST(a_flush_behind_the_flush_of_a_turn),
           TEST(a_driver_goes_on_to_its_events), TEST(a_late_wake_up_writes_nowhere))
