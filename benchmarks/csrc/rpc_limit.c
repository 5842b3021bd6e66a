/* rpc_limit.c: the server of the bar for remote calls: bytes come, as many bytes go.
 *
 *   rpc_limit
 *
 * It says {"port": 0} first, as benchmarks/rpc_server.py does, then answers one line on stdin:
 *
 *   listen BYTES blocking|busy    {"port": ...}
 *
 * and serves one client until that is gone: as soon as BYTES are there, the whole requests that
 * came go back together; none before, since a remote call cannot be answered before its arguments
 * are there. `busy` never sleeps.
 */
#include "net.h"

enum { TAKE_BYTES = 1 << 16, FRAME_BYTES_MAX = 1 << 28 };

static char *taken;

/* Adds bytes to the `got` there are until a request is whole; returns how many there are then, 0 at
   the end of the stream. */
static size_t take(int fd, size_t got, size_t frame_len, size_t room, int flags) {
  while (got < frame_len) {
    ssize_t more = recv(fd, taken + got, room - got, flags);
    if (more == 0) return 0;
    if (more > 0)
      got += (size_t)more;
    else if (errno != EAGAIN)
      die("recv: %s", strerror(errno));
  }
  return got;
}

static void serve(int listen_fd, size_t frame_len, int flags) {
  size_t room = frame_len > TAKE_BYTES ? frame_len : TAKE_BYTES, len = 0;
  int fd = net_accept(listen_fd, "tcp");
  taken = malloc(room);
  if (!taken) die("out of memory");
  while ((len = take(fd, len, frame_len, room, flags)) > 0) {
    size_t part = len % frame_len;
    net_send_all(fd, taken, len - part);
    memmove(taken, taken + len - part, part);
    len = part;
  }
  free(taken);
  close(fd);
}

int main(void) {
  char line[64], bytes[32], mode[16];
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("{\"port\": 0}");
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "listen %31s %15s", bytes, mode) != 2) die("no such command: %s", line);
    size_t frame_len = parse_count("BYTES", bytes, 1, FRAME_BYTES_MAX);
    int listen_fd = net_listen("tcp");
    printf("{\"port\": %d}\n", net_port(listen_fd));
    serve(listen_fd, frame_len, strcmp(mode, "busy") ? 0 : MSG_DONTWAIT);
  }
  return 0;
}
