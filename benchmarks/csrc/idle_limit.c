/* idle_limit.c: a server without Python that keeps many connections, most of them idle.
 *
 * It speaks the protocol of benchmarks/idle_server.py: {"port": N} first, then for each line on
 * stdin one line of JSON:
 *
 *   grow N          {"cpu_s": ...}, once N clients in all are connected and have been answered once
 *   broadcast N     {"started_s": ..., "cpu_s": ...}, once every client's kernel has message N
 *
 * A client is answered with what it says. A connection costs a number and what epoll needs.
 */
#include "net.h"

enum { EVENTS_MAX = 256, SIZE = 64 };

static int clients[CONNECTIONS_MAX];
static size_t client_count, answered_count;
static int listen_fd, epoll_fd;

static void meet(void) {
  int fd = net_accept(listen_fd, "tcp");
  if (client_count == CONNECTIONS_MAX) die("more than %d clients", CONNECTIONS_MAX);
  clients[client_count++] = fd;
  net_watch(epoll_fd, fd, EPOLLIN, (void *)(intptr_t)fd);
}

static void send_all(int fd, const char *frame, size_t len) {
  ssize_t sent = send(fd, frame, len, MSG_NOSIGNAL);
  if (sent != (ssize_t)len) die("send: %s", sent < 0 ? strerror(errno) : "no room");
}

/* A client speaks once, and so little that it comes at once. */
static void answer(int fd) {
  char frame[SIZE + 1];
  ssize_t got = recv(fd, frame, sizeof frame, 0);
  if (got != sizeof frame) die("a client sent %zd bytes, not %zu", got, sizeof frame);
  send_all(fd, frame, sizeof frame);
  answered_count++;
}

static void grow(size_t count) {
  struct epoll_event events[EVENTS_MAX];
  double cpu = cpu_s();
  while (answered_count < count) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < ready; i++) {
      int fd = (int)(intptr_t)events[i].data.ptr;
      if (fd == listen_fd)
        meet();
      else
        answer(fd);
    }
  }
  printf("{\"cpu_s\": %.9f}\n", cpu_s() - cpu);
}

static void broadcast(uint64_t number) {
  char frame[SIZE + 1];
  double started = now_s(), cpu = cpu_s();
  message_write(frame, SIZE, number);
  frame[SIZE] = '\n';
  for (size_t i = 0; i < client_count; i++) send_all(clients[i], frame, sizeof frame);
  printf("{\"started_s\": %.9f, \"cpu_s\": %.9f}\n", started, cpu_s() - cpu);
}

int main(void) {
  char line[64], verb[16], number[16];
  setvbuf(stdout, NULL, _IOLBF, 0);
  messages_init();
  epoll_fd = net_epoll();
  listen_fd = net_listen("tcp");
  printf("{\"port\": %d}\n", net_port(listen_fd));
  net_watch(epoll_fd, listen_fd, EPOLLIN, (void *)(intptr_t)listen_fd);
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%15s %15s", verb, number) != 2) die("no such command: %s", line);
    size_t value = parse_count(verb, number, 0, CONNECTIONS_MAX);
    if (strcmp(verb, "grow") == 0)
      grow(value);
    else if (strcmp(verb, "broadcast") == 0)
      broadcast(value);
    else
      die("no such command: %s", line);
  }
  return 0;
}
