/* limit.c: the fan-out server without Python, the bar that the others are held against.
 *
 * burst: every message is appended once to a bounded log, a memfd mapped twice back to back so that
 * every range is contiguous. A client is a cursor. Each FLUSH_BYTES of new messages, every client
 * is sent all bytes between its cursor and the head in one call. A client whose socket is full is
 * left alone until epoll says that it takes more; when the slowest one holds up the whole log,
 * there is nothing to do but to wait for that.
 *
 * single: a message is sent to every client before the next one is looked at.
 *
 * relay: what one more connection says is appended to the log and flushed as in burst. There is one
 * speaker only, so messages need not be told apart.
 *
 * It speaks the protocol of benchmarks/publisher.py and relaying.py: {"port": N} first, then for
 * each line on stdin one line of JSON:
 *
 *   accept N                          {"clients": N}
 *   run MODE SIZE SECONDS DISTINCT    {"messages": ..., "started_s": ...}
 *   pace SIZE SECONDS RATE            the same; as in single, each message when it is due
 *   relay N                           {"clients": N}; then it relays until the speaker is gone
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum {
  CLIENTS_MAX = 100000,
  EVENTS_MAX = 256,
  LOG_BYTES = 1 << 22, /* a power of two, many times the largest frame */
  FLUSH_BYTES = 1 << 16,
  CYCLE = 256, /* messages of a timed run; then they come again */
  CHUNK = 16,  /* messages between two looks at the clock */
  BACKLOG = 4096,
};

typedef struct {
  int fd;
  bool blocked; /* its socket was full; epoll tells when that changes */
  uint64_t cursor;
} client;

static client *clients;
static size_t client_count, frame_len;
static int listen_fd, epoll_fd;
static char *log_bytes;
static uint64_t head, flushed; /* offsets that only grow: end of the log, head at the last flush */

static void log_open(void) {
  int fd = memfd_create("log", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, LOG_BYTES) < 0) die("log: %s", strerror(errno));
  log_bytes = mmap(NULL, 2 * LOG_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int half = 0; half < 2 && log_bytes != MAP_FAILED; half++) {
    void *at = log_bytes + half * LOG_BYTES;
    if (mmap(at, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
      die("log: %s", strerror(errno));
  }
  if (log_bytes == MAP_FAILED) die("log: %s", strerror(errno));
  close(fd);
}

/* Sends len bytes as far as the socket takes them. Returns how many it took, 0 if it is full. */
static size_t send_some(client *c, const char *data, size_t len) {
  ssize_t sent = send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return (size_t)sent;
  if (errno != EAGAIN && errno != EINTR) die("client went away: %s", strerror(errno));
  return 0;
}

static void flush_client(client *c) {
  size_t len = head - c->cursor;
  size_t sent = send_some(c, log_bytes + c->cursor % LOG_BYTES, len);
  c->cursor += sent;
  c->blocked = sent < len;
}

static void flush_all(void) {
  for (size_t i = 0; i < client_count; i++)
    if (!clients[i].blocked && clients[i].cursor < head) flush_client(&clients[i]);
  flushed = head;
}

static void flush_writable(int timeout_ms) {
  struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout_ms);
  for (int i = 0; i < count; i++) {
    client *c = events[i].data.ptr; /* none for a speaker */
    if (c && c->cursor < head) flush_client(c);
  }
}

static uint64_t tail(void) {
  uint64_t lowest = head;
  for (size_t i = 0; i < client_count; i++)
    if (clients[i].cursor < lowest) lowest = clients[i].cursor;
  return lowest;
}

/* Waits until the log has room for a frame. Returns how far the head may go. */
static uint64_t make_room(void) {
  uint64_t end;
  while (end = tail() + LOG_BYTES, head + frame_len > end) flush_writable(-1);
  return end;
}

static void drain(void) {
  flush_all();
  while (tail() < head) flush_writable(-1);
}

static void burst_append(const char *frame) {
  static uint64_t end; /* as the tail was when somebody last looked, so never too far */
  if (head + frame_len > end) end = make_room();
  memcpy(log_bytes + head % LOG_BYTES, frame, frame_len);
  head += frame_len;
  if (head - flushed < FLUSH_BYTES) return;
  flush_writable(0);
  flush_all();
}

static void single_send(const char *frame) {
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    size_t sent = 0;
    while ((sent += send_some(c, frame + sent, frame_len - sent)) < frame_len) {
      struct pollfd writable = {.fd = c->fd, .events = POLLOUT};
      poll(&writable, 1, -1);
    }
  }
}

static void frame_write(char *to, uint64_t i) {
  message_write(to, frame_len - 1, i);
  to[frame_len - 1] = '\n';
}

/* Behind its time it hurries: a message is due when it is due, whatever the ones before took. */
static uint64_t pace(double started, double seconds, double rate) {
  uint64_t messages = (uint64_t)(seconds * rate);
  char *frame = malloc(frame_len);
  if (!frame) die("out of memory");
  for (uint64_t i = 0; i < messages; i++) {
    frame_write(frame, i);
    while (now_s() < started + (double)i / rate) continue;
    single_send(frame);
  }
  free(frame);
  return messages;
}

static void told(uint64_t messages, double started) {
  printf("{\"messages\": %llu, \"started_s\": %.9f}\n", (unsigned long long)messages, started);
}

static void run(const char *mode, double seconds, bool distinct) {
  bool burst = strcmp(mode, "burst") == 0;
  if (!burst && strcmp(mode, "single") != 0) die("'%s' is neither burst nor single", mode);
  char *frames = malloc(CYCLE * frame_len);
  if (!frames) die("out of memory");
  for (size_t i = 0; i < CYCLE; i++) frame_write(frames + i * frame_len, i);
  uint64_t messages = 0;
  double started = now_s(), deadline = started + seconds;
  while (now_s() < deadline)
    for (int i = 0; i < CHUNK; i++, messages++) {
      char *frame = frames + messages % CYCLE * frame_len;
      if (distinct) frame_write(frame, messages);
      if (burst)
        burst_append(frame);
      else
        single_send(frame);
    }
  drain();
  told(messages, started);
  free(frames);
}

static void listen_anywhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t len = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, len) < 0 ||
      listen(listen_fd, BACKLOG) < 0 ||
      getsockname(listen_fd, (struct sockaddr *)&address, &len) < 0)
    die("listen: %s", strerror(errno));
  printf("{\"port\": %d}\n", ntohs(address.sin_port));
}

static void accept_all(size_t count) {
  clients = calloc(count, sizeof *clients);
  if (!clients) die("out of memory");
  for (client_count = 0; client_count < count; client_count++) {
    client *c = &clients[client_count];
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = c};
    int on = 1;
    c->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
      die("accept: %s", strerror(errno));
  }
  printf("{\"clients\": %zu}\n", client_count);
}

/* Nobody waits for the speaker while a client can take more, nor the other way round. */
static void relay(void) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  int speaker = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (speaker < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, speaker, &event) < 0)
    die("speaker: %s", strerror(errno));
  for (ssize_t got; got = 0, true;) {
    size_t room = (size_t)(tail() + LOG_BYTES - head);
    if (room) got = recv(speaker, log_bytes + head % LOG_BYTES, room, MSG_DONTWAIT);
    if (room && (got == 0 || (got < 0 && errno != EAGAIN))) break;
    if (got > 0) {
      head += (uint64_t)got;
      flush_all();
    } else {
      flush_writable(-1);
    }
  }
  close(speaker);
  drain();
}

int main(void) {
  char line[128], verb[16], first[16], second[16];
  double third;
  int distinct;
  setvbuf(stdout, NULL, _IOLBF, 0);
  messages_init();
  log_open();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) die("epoll: %s", strerror(errno));
  listen_anywhere();
  while (fgets(line, sizeof line, stdin)) {
    int words = sscanf(line, "%15s %15s %15s %lf %d", verb, first, second, &third, &distinct);
    if (words == 2 && strcmp(verb, "accept") == 0) {
      accept_all(parse_count("accept", first, 1, CLIENTS_MAX));
    } else if (words == 5 && strcmp(verb, "run") == 0) {
      frame_len = parse_count("size", second, 1, SIZE_MAX_BYTES) + 1;
      run(first, third, distinct);
    } else if (words == 4 && strcmp(verb, "pace") == 0) {
      double started = now_s();
      frame_len = parse_count("size", first, 1, SIZE_MAX_BYTES) + 1;
      told(pace(started, strtod(second, NULL), third), started);
    } else if (words == 2 && strcmp(verb, "relay") == 0) {
      accept_all(parse_count("relay", first, 1, CLIENTS_MAX));
      relay();
    } else {
      die("no such command: %s", line);
    }
  }
  return 0;
}
