/* echo_load.c: clients that ask, wait for the answer, and ask again; the same for every peer.
 *
 *   echo_load PORT|PATH CONNECTIONS SIZE blocking|busy
 *
 * Connects, answers {"clients": N}, and then each line on stdin with one line of JSON:
 *
 *   run SECONDS PATIENCE    {"requests": ..., "seconds": ..., "p50_us": ..., "p99_us": ...,
 *                            "p999_us": ..., "cpu_s": ..., "lost": ..., "corrupt": ...}
 *
 * Each connection has one request under way: a message (bench.h) with a number that no other
 * request has, and a newline. Each byte of each answer is compared. An answer that has not come
 * PATIENCE seconds after the end of the time is lost. One connection waits in recv, more with
 * epoll; `busy` asks again and again instead of sleeping. At the end of stdin it closes them.
 */
#include "latency.h"
#include "net.h"

enum { EVENTS_MAX = 256 };

typedef struct {
  int fd;
  char *frame;      /* what was asked, and so what the answer must be */
  size_t got;       /* bytes of the answer */
  uint64_t sent_ns; /* 0: nothing is under way */
  bool spoiled;     /* a byte of the answer is not the one of the request */
} client;

static client *clients;
static size_t client_count, frame_len;
static bool busy;
static int epoll_fd;
static char *answer;
static uint64_t asked, corrupt;
static uint64_t until_ns; /* no request begins after this */
static size_t under_way;

static void ask(client *c, uint64_t now) {
  if (now >= until_ns) return;
  message_write(c->frame, frame_len - 1, asked++);
  c->got = 0;
  c->spoiled = false;
  c->sent_ns = now;
  net_send_all(c->fd, c->frame, frame_len);
  under_way++;
}

/* Takes bytes of an answer. A whole one is followed by the next request. Returns false where there
   was nothing to take, or the time for it was over. */
static bool take(client *c, int flags) {
  ssize_t got = recv(c->fd, answer, frame_len - c->got, flags);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) die("server closed a connection: %s", got ? strerror(errno) : "end of stream");
  c->spoiled |= memcmp(answer, c->frame + c->got, (size_t)got) != 0;
  c->got += (size_t)got;
  if (c->got < frame_len) return true;
  uint64_t now = now_ns();
  latency_note(now - c->sent_ns);
  corrupt += c->spoiled;
  c->sent_ns = 0;
  under_way--;
  ask(c, now);
  return true;
}

static void run_one(void) {
  int flags = busy ? MSG_DONTWAIT : 0;
  ask(&clients[0], now_ns());
  while (under_way && !net_late) take(&clients[0], flags);
}

static void run_many(void) {
  struct epoll_event events[EVENTS_MAX];
  for (size_t i = 0; i < client_count; i++) ask(&clients[i], now_ns());
  while (under_way && !net_late) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, busy ? 0 : -1);
    for (int i = 0; i < ready; i++) take(events[i].data.ptr, MSG_DONTWAIT);
  }
}

/* What came without having been asked for is corrupt, too. */
static uint64_t surplus(void) {
  uint64_t count = 0;
  for (size_t i = 0; i < client_count; i++)
    count += recv(clients[i].fd, answer, frame_len, MSG_DONTWAIT) > 0;
  return count;
}

static void run(double seconds, double patience) {
  latency_count = 0;
  asked = corrupt = 0;
  under_way = 0;
  net_alarm(seconds + patience);
  uint64_t begun = now_ns();
  double cpu = cpu_s();
  until_ns = begun + (uint64_t)(seconds * 1e9);
  if (client_count == 1)
    run_one();
  else
    run_many();
  double took = (double)(now_ns() - begun) / 1e9;
  cpu = cpu_s() - cpu;
  net_alarm(0);
  if (latency_count == 0)
    die("no answer to %zu requests within %g s", under_way, seconds + patience);
  latency_sort();
  printf(
      "{\"requests\": %zu, \"seconds\": %.9f, \"p50_us\": %.3f, \"p99_us\": %.3f, "
      "\"p999_us\": %.3f, \"cpu_s\": %.9f, \"lost\": %zu, \"corrupt\": %llu}\n",
      latency_count, took, latency_quantile_us(0.5), latency_quantile_us(0.99),
      latency_quantile_us(0.999), cpu, under_way, (unsigned long long)(corrupt + surplus()));
}

static void start(char **argv) {
  client_count = parse_count("CONNECTIONS", argv[2], 1, CONNECTIONS_MAX);
  frame_len = parse_count("SIZE", argv[3], 1, SIZE_MAX_BYTES) + 1;
  busy = strcmp(argv[4], "busy") == 0;
  messages_init();
  epoll_fd = net_epoll();
  clients = calloc(client_count, sizeof *clients);
  answer = malloc(frame_len);
  if (!clients || !answer) die("out of memory");
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    c->fd = net_connect(argv[1]);
    c->frame = malloc(frame_len);
    if (!c->frame) die("out of memory");
    c->frame[frame_len - 1] = '\n';
    net_watch(epoll_fd, c->fd, EPOLLIN, c);
  }
}

int main(int argc, char **argv) {
  char line[64];
  double seconds, patience;
  if (argc != 5) die("usage: echo_load PORT|PATH CONNECTIONS SIZE blocking|busy");
  setvbuf(stdout, NULL, _IOLBF, 0);
  start(argv);
  printf("{\"clients\": %zu}\n", client_count);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "run %lf %lf", &seconds, &patience) != 2) die("no such command: %s", line);
    run(seconds, patience);
  }
  return 0;
}
