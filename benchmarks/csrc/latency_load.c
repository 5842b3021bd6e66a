/* latency_load.c: when do messages reach the first and the last of many clients?
 *
 *   latency_load PORT CLIENTS SIZE MESSAGES_MAX
 *
 * Connects, answers {"clients": N}, and compares each byte that comes with the message that is due
 * (bench.h). It spins, so that no waking up is part of the latency; it takes what it finds of one
 * client and goes on with the next. Then one command on stdin, answered by a line of JSON:
 *
 *   finish MESSAGES STARTED RATE SKIPPED
 *
 * Message i was due at STARTED + i / RATE. Once every client has all MESSAGES, or nothing more
 * comes: {"first_p50_us": ..., "first_p99_us": ..., "last_p50_us": ..., "last_p99_us": ...,
 * "busy_s": ..., "lost": ..., "corrupt": ...}. The first SKIPPED messages are the warm-up, and
 * busy_s is the time in which it did not wait.
 */
#include "net.h"

enum { EVENTS_MAX = 256, TAKE_BYTES = 1 << 18 };

static const double STALL_S = 10;

typedef struct {
  double first, last; /* when it was complete at a client */
  uint32_t count;     /* clients that have it */
} arrival;

typedef struct {
  int fd;
  uint64_t bytes;
} client;

static client *clients;
static arrival *arrivals;
static size_t client_count, frame_len, messages_max;
static uint64_t complete_count, corrupt_count, due_number = UINT64_MAX;
static char *due, *taken;
static int epoll_fd;
static double busy_s, heard_s;

static void arrive(uint64_t number, double now) {
  if (number >= messages_max) {
    corrupt_count++;
    return;
  }
  arrival *a = &arrivals[number];
  if (a->count++ == 0) a->first = now;
  a->last = now;
  complete_count++;
}

/* What comes is compared with the one message that is due at this place of the stream. */
static void take(client *c, const char *data, size_t len, double now) {
  while (len > 0) {
    uint64_t number = c->bytes / frame_len;
    size_t at = c->bytes % frame_len, rest = frame_len - at, part = len < rest ? len : rest;
    if (number != due_number) message_write(due, frame_len - 1, due_number = number);
    if (memcmp(due + at, data, part) != 0) corrupt_count++;
    if (part == rest) arrive(number, now);
    c->bytes += part;
    data += part, len -= part;
  }
}

/* Returns whether stdin has a command. */
static bool turn(void) {
  struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(epoll_fd, events, EVENTS_MAX, 0);
  if (count <= 0) return false;
  double begun = now_s();
  bool command = false;
  for (int i = 0; i < count; i++) {
    client *c = events[i].data.ptr;
    ssize_t got = c ? recv(c->fd, taken, TAKE_BYTES, MSG_DONTWAIT) : 0;
    if (got > 0)
      take(c, taken, (size_t)got, now_s());
    else if (!c)
      command = true;
    else if (got == 0 || errno != EAGAIN)
      die("the server closed a connection");
  }
  heard_s = now_s();
  busy_s += heard_s - begun;
  return command;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double share) {
  size_t at = (size_t)(share * (double)count);
  return count ? sorted[at < count ? at : count - 1] : 0;
}

static void print_latency(const char *which, bool last, uint64_t skipped, uint64_t messages,
                          double started, double rate) {
  double *us = malloc((messages - skipped + 1) * sizeof *us);
  size_t count = 0;
  if (!us) die("out of memory");
  for (uint64_t i = skipped; i < messages; i++) {
    const arrival *a = &arrivals[i];
    if (a->count == client_count)
      us[count++] = ((last ? a->last : a->first) - started - (double)i / rate) * 1e6;
  }
  qsort(us, count, sizeof *us, ascending);
  printf("\"%s_p50_us\": %.3f, \"%s_p99_us\": %.3f, ", which, percentile(us, count, 0.5), which,
         percentile(us, count, 0.99));
  free(us);
}

static void finish(uint64_t messages, double started, double rate, uint64_t skipped) {
  uint64_t expected = messages * client_count;
  if (messages > messages_max || skipped > messages) die("finish: more than %zu", messages_max);
  heard_s = now_s();
  while (complete_count < expected && now_s() < heard_s + STALL_S) turn();
  printf("{");
  print_latency("first", false, skipped, messages, started, rate);
  print_latency("last", true, skipped, messages, started, rate);
  printf("\"busy_s\": %.9f, \"lost\": %llu, \"corrupt\": %llu}\n", busy_s,
         (unsigned long long)(complete_count < expected ? expected - complete_count : 0),
         (unsigned long long)corrupt_count);
}

static void start(char **argv) {
  client_count = parse_count("CLIENTS", argv[2], 1, CONNECTIONS_MAX);
  frame_len = parse_count("SIZE", argv[3], 1, SIZE_MAX_BYTES) + 1;
  messages_max = parse_count("MESSAGES_MAX", argv[4], 1, UINT32_MAX);
  messages_init();
  clients = calloc(client_count, sizeof *clients);
  arrivals = calloc(messages_max, sizeof *arrivals);
  due = malloc(frame_len);
  taken = malloc(TAKE_BYTES);
  if (!clients || !arrivals || !due || !taken) die("out of memory");
  due[frame_len - 1] = '\n';
  epoll_fd = net_epoll();
  for (size_t i = 0; i < client_count; i++) {
    clients[i].fd = net_connect(argv[1]);
    net_watch(epoll_fd, clients[i].fd, EPOLLIN, &clients[i]);
  }
  net_watch(epoll_fd, STDIN_FILENO, EPOLLIN, NULL);
}

int main(int argc, char **argv) {
  char line[128];
  unsigned long long messages, skipped;
  double started, rate;
  if (argc != 5) die("usage: latency_load PORT CLIENTS SIZE MESSAGES_MAX");
  setvbuf(stdout, NULL, _IOLBF, 0);
  start(argv);
  printf("{\"clients\": %zu}\n", client_count);
  while (!turn()) continue;
  if (!fgets(line, sizeof line, stdin)) return 0;
  if (sscanf(line, "finish %llu %lf %lf %llu", &messages, &started, &rate, &skipped) != 4)
    die("'%s' is no command", line);
  finish(messages, started, rate, skipped);
  return 0;
}
