/* idle_load.c: clients that connect, say one thing, and then only listen.
 *
 *   idle_load PORT
 *
 * It answers each line on stdin with one line of JSON, {} at first:
 *
 *   grow N PATIENCE     {"seconds": ..., "cpu_s": ..., "lost": ..., "corrupt": ...}: N clients in
 * all are connected; each new one has sent its message (bench.h) and taken the answer, which must
 * be the same await N PATIENCE    {"last_s": ..., "cpu_s": ..., "lost": ..., "corrupt": ...}: every
 * client has message N
 *
 * At most UNDER_WAY new clients wait for their answer, fewer than any backlog holds: where one is
 * full, the kernel tries again after a second, and it would be that second that is measured. What
 * has not come within PATIENCE seconds is lost. The connections end with a reset, which leaves no
 * TIME_WAIT behind that would hold up the next run.
 */
#include "net.h"

enum { EVENTS_MAX = 256, SIZE = 64, UNDER_WAY = 100 };

typedef struct {
  int fd;
  bool waiting; /* for what it is due */
  uint64_t due;
} client;

static client clients[CONNECTIONS_MAX];
static size_t client_count, waiting_count, corrupt;
static const char *where;
static int epoll_fd;
static double last_s;

static void expect(client *c, uint64_t number) {
  c->due = number;
  c->waiting = true;
  waiting_count++;
}

static void meet(void) {
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  char frame[SIZE + 1];
  client *c = &clients[client_count];
  c->fd = net_connect(where);
  if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) < 0)
    die("SO_LINGER: %s", strerror(errno));
  net_watch(epoll_fd, c->fd, EPOLLIN, c);
  expect(c, client_count++);
  message_write(frame, SIZE, c->due);
  frame[SIZE] = '\n';
  if (send(c->fd, frame, sizeof frame, MSG_NOSIGNAL) != sizeof frame)
    die("send: %s", strerror(errno));
}

/* A message is so small that it comes at once. */
static void take(client *c) {
  char frame[SIZE + 1], due[SIZE + 1];
  ssize_t got = recv(c->fd, frame, sizeof frame, MSG_DONTWAIT);
  if (got <= 0) die("server closed a connection: %s", got ? strerror(errno) : "end of stream");
  message_write(due, SIZE, c->due);
  due[SIZE] = '\n';
  corrupt += !c->waiting || got != sizeof frame || memcmp(frame, due, sizeof frame) != 0;
  waiting_count -= c->waiting;
  c->waiting = false;
}

/* Takes what comes until at most so many clients wait, or it is late. */
static void take_until(size_t waiting_max) {
  struct epoll_event events[EVENTS_MAX];
  while (waiting_count > waiting_max && !net_late) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < ready; i++) take(events[i].data.ptr);
    last_s = now_s();
  }
}

/* What has not come is lost; nobody waits for it any longer. */
static size_t give_up(void) {
  size_t lost = waiting_count;
  for (size_t i = 0; i < client_count; i++) clients[i].waiting = false;
  waiting_count = 0;
  return lost;
}

static void grow(size_t count, double patience) {
  double started = now_s(), cpu = cpu_s();
  net_alarm(patience);
  while (client_count < count && !net_late) {
    take_until(UNDER_WAY - 1);
    meet();
  }
  take_until(0);
  net_alarm(0);
  printf("{\"seconds\": %.9f, \"cpu_s\": %.9f, \"lost\": %zu, \"corrupt\": %zu}\n",
         last_s - started, cpu_s() - cpu, count - client_count + give_up(), corrupt);
}

static void await(uint64_t number, double patience) {
  double cpu = cpu_s();
  for (size_t i = 0; i < client_count; i++) expect(&clients[i], number);
  net_alarm(patience);
  take_until(0);
  net_alarm(0);
  printf("{\"last_s\": %.9f, \"cpu_s\": %.9f, \"lost\": %zu, \"corrupt\": %zu}\n", last_s,
         cpu_s() - cpu, give_up(), corrupt);
}

int main(int argc, char **argv) {
  char line[64], verb[16], number[16];
  double patience;
  if (argc != 2) die("usage: idle_load PORT");
  where = argv[1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  messages_init();
  epoll_fd = net_epoll();
  puts("{}");
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%15s %15s %lf", verb, number, &patience) != 3)
      die("no such command: %s", line);
    size_t value = parse_count(verb, number, 0, CONNECTIONS_MAX);
    corrupt = 0;
    if (strcmp(verb, "grow") == 0)
      grow(value, patience);
    else if (strcmp(verb, "await") == 0)
      await(value, patience);
    else
      die("no such command: %s", line);
  }
  return 0;
}
