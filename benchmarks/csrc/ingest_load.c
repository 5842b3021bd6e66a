/* ingest_load.c: many clients that talk as fast as their server listens.
 *
 *   ingest_load PORT CLIENTS SIZE BATCH
 *
 * Connects, answers {"clients": N}, and then the line on stdin, once:
 *
 *   run SECONDS PATIENCE    {"messages": ..., "started_s": ..., "cpu_s": ..., "seconds": ...}
 *
 * Each client sends messages 0, 1, 2 ... (bench.h), each with a newline, BATCH of them in one call.
 * When the time is over it ends its stream. A client whose socket is full waits until epoll says
 * that it takes more, so none is far ahead of the others. Where that takes more than PATIENCE
 * seconds beyond the time, the server does not listen, and the program dies.
 */
#include "net.h"

enum { EVENTS_MAX = 256, BATCH_MAX = 4096 };

typedef struct {
  int fd;
  uint64_t next;    /* number of its next message */
  size_t sent, len; /* of the batch that is on its way */
  char *batch;
} client;

static client *clients;
static size_t client_count, open_count, frame_len, batch_count;
static int epoll_fd;
static uint64_t messages;

static void fill(client *c) {
  for (size_t i = 0; i < batch_count; i++) {
    char *frame = c->batch + i * frame_len;
    message_write(frame, frame_len - 1, c->next++);
    frame[frame_len - 1] = '\n';
  }
  c->sent = 0;
  c->len = batch_count * frame_len;
  messages += batch_count;
}

/* One batch, or the rest of one, as far as the kernel takes it. */
static void speak(client *c, bool over) {
  if (c->sent == c->len && over) {
    if (shutdown(c->fd, SHUT_WR) < 0) die("shutdown: %s", strerror(errno));
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    open_count--;
    return;
  }
  if (c->sent == c->len) fill(c);
  ssize_t sent = send(c->fd, c->batch + c->sent, c->len - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) die("server went away: %s", strerror(errno));
  if (sent > 0) c->sent += (size_t)sent;
}

static void run(double seconds, double patience) {
  struct epoll_event events[EVENTS_MAX];
  double started = now_s(), cpu = cpu_s(), deadline = started + seconds;
  net_alarm(seconds + patience);
  while (open_count > 0) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    if (net_late) die("%zu clients could not send the rest within %g s", open_count, patience);
    bool over = now_s() >= deadline;
    for (int i = 0; i < ready; i++) speak(events[i].data.ptr, over);
  }
  net_alarm(0);
  printf("{\"messages\": %llu, \"started_s\": %.9f, \"cpu_s\": %.9f, \"seconds\": %.9f}\n",
         (unsigned long long)messages, started, cpu_s() - cpu, now_s() - started);
}

static void start(char **argv) {
  client_count = open_count = parse_count("CLIENTS", argv[2], 1, CONNECTIONS_MAX);
  frame_len = parse_count("SIZE", argv[3], 1, SIZE_MAX_BYTES) + 1;
  batch_count = parse_count("BATCH", argv[4], 1, BATCH_MAX);
  messages_init();
  epoll_fd = net_epoll();
  clients = calloc(client_count, sizeof *clients);
  if (!clients) die("out of memory");
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    c->batch = malloc(batch_count * frame_len);
    if (!c->batch) die("out of memory");
    c->fd = net_connect(argv[1]);
    net_watch(epoll_fd, c->fd, EPOLLOUT, c);
  }
}

int main(int argc, char **argv) {
  char line[64];
  double seconds, patience;
  if (argc != 5) die("usage: ingest_load PORT CLIENTS SIZE BATCH");
  setvbuf(stdout, NULL, _IOLBF, 0);
  start(argv);
  printf("{\"clients\": %zu}\n", client_count);
  if (!fgets(line, sizeof line, stdin)) return 0;
  if (sscanf(line, "run %lf %lf", &seconds, &patience) != 2) die("no such command: %s", line);
  run(seconds, patience);
  while (fgets(line, sizeof line, stdin)) continue;
  return 0;
}
