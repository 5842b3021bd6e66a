/* ingest_limit.c: a server without Python that takes what many clients say.
 *
 * It speaks the protocol of benchmarks/ingest_server.py: {"port": N} first, then for each line on
 * stdin one line of JSON:
 *
 *   receive CLIENTS SIZE CHECK    {"messages": ..., "bytes": ..., "corrupt": ..., "last_s": ...,
 *                                  "cpu_s": ...}
 *
 * once so many clients have come, said all they had to say, and ended their streams. Messages are
 * found by their newlines, and counted with their bytes. With CHECK 1 each is compared with the one
 * that is due; numbers begin at 0 in each connection.
 */
#include "net.h"

enum { EVENTS_MAX = 256, TAKE_BYTES = 1 << 17 };

typedef struct {
  int fd;
  uint64_t next; /* number of the message that is due */
  size_t part_len;
  char part[]; /* the beginning of a message whose end has not come */
} client;

static char taken[SIZE_MAX_BYTES + 1 + TAKE_BYTES], due[SIZE_MAX_BYTES + 1];
static size_t frame_len;
static bool checking;
static int listen_fd, epoll_fd;
static uint64_t messages, bytes, corrupt;

static void take_line(client *c, const char *line, size_t len) {
  messages++;
  bytes += len;
  if (!checking) return;
  message_write(due, frame_len - 1, c->next++);
  corrupt += len != frame_len - 1 || memcmp(line, due, len) != 0;
}

/* Finds the messages in what is kept of the last call and what has come now. */
static void take_bytes(client *c, size_t len) {
  const char *at = taken, *end = taken + len;
  for (const char *newline; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
    take_line(c, at, (size_t)(newline - at));
  c->part_len = (size_t)(end - at);
  if (c->part_len > frame_len) die("a line of more than %zu bytes", frame_len);
  memcpy(c->part, at, c->part_len);
}

/* Returns false at the end of the stream. */
static bool receive(client *c) {
  memcpy(taken, c->part, c->part_len);
  ssize_t got = recv(c->fd, taken + c->part_len, TAKE_BYTES, 0);
  if (got < 0) die("recv: %s", strerror(errno));
  if (got > 0)
    take_bytes(c, c->part_len + (size_t)got);
  else
    corrupt += c->part_len > 0;
  return got > 0;
}

static void meet(void) {
  client *c = calloc(1, sizeof *c + frame_len);
  if (!c) die("out of memory");
  c->fd = net_accept(listen_fd, "tcp");
  net_watch(epoll_fd, c->fd, EPOLLIN, c);
}

static void leave(client *c) {
  close(c->fd);
  free(c);
}

static void serve(size_t count) {
  struct epoll_event events[EVENTS_MAX];
  double cpu = cpu_s();
  messages = bytes = corrupt = 0;
  for (size_t i = 0; i < count; i++) meet();
  while (count > 0) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < ready; i++) {
      client *c = events[i].data.ptr;
      if (receive(c)) continue;
      leave(c);
      count--;
    }
  }
  printf(
      "{\"messages\": %llu, \"bytes\": %llu, \"corrupt\": %llu, \"last_s\": %.9f, "
      "\"cpu_s\": %.9f}\n",
      (unsigned long long)messages, (unsigned long long)bytes, (unsigned long long)corrupt, now_s(),
      cpu_s() - cpu);
}

int main(void) {
  char line[64], clients[16], size[16];
  int check;
  setvbuf(stdout, NULL, _IOLBF, 0);
  messages_init();
  epoll_fd = net_epoll();
  listen_fd = net_listen("tcp");
  printf("{\"port\": %d}\n", net_port(listen_fd));
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "receive %15s %15s %d", clients, size, &check) != 3)
      die("no such command: %s", line);
    frame_len = parse_count("SIZE", size, 1, SIZE_MAX_BYTES) + 1;
    checking = check == 1;
    serve(parse_count("CLIENTS", clients, 1, CONNECTIONS_MAX));
  }
  return 0;
}
