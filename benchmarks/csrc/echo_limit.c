/* echo_limit.c: the echo server without Python, the bar that the others are held against.
 *
 * It speaks the protocol of benchmarks/echo_server.py: {"port": 0} first, then for each line on
 * stdin one line of JSON:
 *
 *   listen tcp|PATH blocking|busy    {"address": ...}
 *   serve N                          {"cpu_s": ...}, once N clients have come, been echoed to, and
 *                                    gone
 *
 * One client is served by recv and send alone, the ping-pong: nothing waits faster. More are served
 * with epoll: wait, recv, send. `busy` asks again and again instead of sleeping.
 */
#include "net.h"

enum { EVENTS_MAX = 256, TAKE_BYTES = 1 << 17 };

static char taken[TAKE_BYTES];

/* Sends back what is there. Returns false at the end of the stream. */
static bool echo(int fd, int flags) {
  ssize_t got = recv(fd, taken, sizeof taken, flags);
  if (got > 0)
    net_send_all(fd, taken, (size_t)got);
  else if (got < 0 && errno != EAGAIN)
    die("recv: %s", strerror(errno));
  return got != 0;
}

static void ping_pong(int listen_fd, const char *where, bool busy) {
  int fd = net_accept(listen_fd, where);
  while (echo(fd, busy ? MSG_DONTWAIT : 0)) continue;
  close(fd);
}

static void serve_many(int listen_fd, const char *where, size_t count, bool busy) {
  struct epoll_event events[EVENTS_MAX];
  int epoll_fd = net_epoll();
  for (size_t i = 0; i < count; i++) {
    int fd = net_accept(listen_fd, where);
    net_watch(epoll_fd, fd, EPOLLIN, (void *)(intptr_t)fd);
  }
  while (count > 0) {
    int ready = epoll_wait(epoll_fd, events, EVENTS_MAX, busy ? 0 : -1);
    for (int i = 0; i < ready; i++) {
      int fd = (int)(intptr_t)events[i].data.ptr;
      if (echo(fd, 0)) continue;
      close(fd);
      count--;
    }
  }
  close(epoll_fd);
}

static int listen_at(const char *where) {
  int fd = net_listen(where);
  if (net_is_path(where))
    printf("{\"address\": \"%s\"}\n", where);
  else
    printf("{\"address\": \"%d\"}\n", net_port(fd));
  return fd;
}

static void serve(int listen_fd, const char *where, const char *number, bool busy) {
  size_t count = parse_count("serve", number, 1, CONNECTIONS_MAX);
  double cpu = cpu_s();
  if (count == 1)
    ping_pong(listen_fd, where, busy);
  else
    serve_many(listen_fd, where, count, busy);
  printf("{\"cpu_s\": %.9f}\n", cpu_s() - cpu);
}

int main(void) {
  char line[256], where[200], mode[16], number[32];
  int listen_fd = -1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("{\"port\": 0}");
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "listen %199s %15s", where, mode) == 2)
      listen_fd = listen_at(where);
    else if (listen_fd >= 0 && sscanf(line, "serve %31s", number) == 1)
      serve(listen_fd, where, number, strcmp(mode, "busy") == 0);
    else
      die("no such command: %s", line);
  }
  return 0;
}
