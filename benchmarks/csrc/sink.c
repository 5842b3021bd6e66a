/* sink.c: many receiving clients in one process, as fast as C takes bytes from the kernel.
 *
 *   sink PORT CLIENTS SIZE discard|check HELLO READY BEGIN HEAD TAIL
 *
 * Connects CLIENTS sockets to 127.0.0.1:PORT, sends HELLO on each, reads up to and with READY,
 * sends BEGIN, and answers {"clients": N}. Then it takes all that comes. `discard` throws the bytes
 * away inside the kernel (recv with MSG_TRUNC, tcp(7)) and counts them; `check` reads them and
 * compares every byte with the message that is due (bench.h), between HEAD and TAIL. These five are
 * bytes in hexadecimal, or "-" for none; the same head and tail belong to every message, because
 * all have the same size. Commands on stdin, each answered by one line of JSON:
 *
 *   await N    {"reached": whether}, once every client has had N messages, or nothing more comes
 *   mark N     the same, but dies if they do not come; forgets them, and counts from here
 *   finish N   once the server has closed every connection: what came since the mark, held
 *              against N messages per client. The program ends.
 *
 * A check that is not in order counts what is missing as lost, and what should not be there (other
 * bytes, a message twice or out of order) as corrupt. Without a head, a line is found again after
 * bytes that are not in order; with one, a stream stays as it was cut.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum {
  CLIENTS_MAX = 100000,
  EVENTS_MAX = 256,
  TAKE_BYTES = 1 << 18, /* per client and turn, so that none of them waits long for its turn */
  /* A client is looked at when so much of it waits. With a system call for every small message the
     sink would be as busy as the server, and it would not be clear which of them is measured. */
  WAKE_FRAMES = 4,
  WAKE_BYTES_MAX = 1 << 14,
  STALL_MS = 10000, /* a server that sends nothing for so long has lost the rest */
  WIRE_MAX = 256,
};

typedef struct {
  char data[WIRE_MAX];
  size_t len;
} wire;

typedef struct {
  int fd;
  bool overlong;  /* the line in part is longer than a message, so its end was dropped */
  uint64_t bytes; /* received since the mark */
  uint64_t next;  /* number of the message that is due */
  uint64_t bad;   /* lines since the last good one that are no message */
  uint64_t lost, corrupt;
  size_t part_len; /* of the unfinished line */
  char *part;      /* holds one message and its newline */
} client;

static client *clients;
static wire hello, ready, begin, head, tail;
static size_t client_count, open_count, size, frame_len;
static bool checking;
static char *due, *taken;
static int epoll_fd;
static double mark_cpu_s, last_s, pause_s; /* the longest time in which nothing came */

static bool matches(const char *line, uint64_t number) {
  message_write(due + head.len, size, number);
  return memcmp(line, due, frame_len) == 0;
}

/* The number on a line, read as the one nearest to the one due: small messages hold few digits. */
static uint64_t line_number(const char *line, uint64_t near) {
  size_t digits = message_digits(size);
  uint64_t number = 0, span = 1ull << (4 * digits);
  for (size_t i = 0; i < digits; i++) {
    char c = line[head.len + i];
    number = number * 16 + (uint64_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
  }
  uint64_t later = near + ((number - near) & (span - 1));
  bool behind = later - near >= span / 2 && later >= span;
  return behind ? later - span : later;
}

/* The stream goes on with message number, not before the one that is due. What is between them is
   lost, except where a bad line stands in its place. */
static void go_on(client *c, uint64_t number) {
  uint64_t missing = number - c->next;
  if (missing > c->bad) c->lost += missing - c->bad;
  c->next = number;
  c->bad = 0;
}

static void judge(client *c, const char *line, bool whole) {
  uint64_t number = whole ? line_number(line, c->next) : 0;
  bool good = whole && matches(line, number);
  if (good && number >= c->next) {
    go_on(c, number);
    c->next++;
    return;
  }
  c->corrupt++;
  if (!good) c->bad++;
}

static void take_part(client *c, const char *data, size_t len) {
  size_t room = frame_len - c->part_len;
  size_t kept = len < room ? len : room;
  memcpy(c->part + c->part_len, data, kept);
  c->part_len += kept;
  c->overlong |= kept < len;
}

static void check_bytes(client *c, const char *data, size_t len) {
  while (len > 0) {
    if (c->part_len == 0 && len >= frame_len && matches(data, c->next)) {
      c->next++, c->bad = 0;
      data += frame_len, len -= frame_len;
      continue;
    }
    const char *newline = head.len ? NULL : memchr(data, '\n', len);
    size_t rest = head.len && frame_len - c->part_len < len ? frame_len - c->part_len : len;
    size_t line_len = newline ? (size_t)(newline - data) + 1 : rest;
    take_part(c, data, line_len);
    if (newline || (head.len && c->part_len == frame_len)) {
      judge(c, c->part, c->part_len == frame_len && !c->overlong);
      c->part_len = 0, c->overlong = false;
    }
    data += line_len, len -= line_len;
  }
}

/* Whether something came. */
static bool receive(client *c) {
  ssize_t got = recv(c->fd, taken, TAKE_BYTES, checking ? MSG_DONTWAIT : MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) {
    close(c->fd);
    c->fd = -1;
    open_count--;
    return false;
  }
  c->bytes += (uint64_t)got;
  if (checking) check_bytes(c, taken, (size_t)got);
  return true;
}

static void came_now(void) {
  double now = now_s();
  if (last_s > 0 && now - last_s > pause_s) pause_s = now - last_s;
  last_s = now;
}

/* Waits once and takes what came. Returns whether stdin has a command. */
static bool turn(int timeout_ms, bool *stalled) {
  struct epoll_event events[EVENTS_MAX];
  int count = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout_ms);
  bool command = false, came = false;
  *stalled = count == 0;
  for (int i = 0; i < count; i++) {
    client *c = events[i].data.ptr;
    if (c)
      came |= receive(c);
    else
      command = true;
  }
  if (came) came_now();
  return command;
}

static bool all_have(uint64_t bytes) {
  for (size_t i = 0; i < client_count; i++)
    if (clients[i].bytes < bytes) return false;
  return true;
}

/* SO_RCVLOWAT, socket(7); what waits below it shows as soon as it is lowered. */
static void wake_at(size_t bytes) {
  int low = (int)(bytes < WAKE_BYTES_MAX ? bytes : WAKE_BYTES_MAX);
  for (size_t i = 0; i < client_count; i++)
    if (clients[i].fd >= 0) setsockopt(clients[i].fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
}

/* Whether every client has had so many messages; waits for them while anything comes. */
static bool reach(uint64_t messages) {
  bool stalled = false, reached;
  wake_at(1);
  while (!(reached = all_have(messages * frame_len)) && !stalled && open_count > 0)
    turn(STALL_MS, &stalled);
  return reached;
}

static void await(uint64_t messages) {
  printf("{\"reached\": %s}\n", reach(messages) ? "true" : "false");
}

static void mark(uint64_t messages) {
  if (!reach(messages))
    die("only %zu connections are open, or nothing came for %d s", open_count, STALL_MS / 1000);
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    c->bytes = c->next = c->bad = c->lost = c->corrupt = 0;
  }
  wake_at(WAKE_FRAMES * frame_len);
  mark_cpu_s = cpu_s();
  last_s = pause_s = 0;
  printf("{\"marked\": %llu}\n", (unsigned long long)messages);
}

/* What the end of the stream tells, against the messages that were sent. */
static void judge_end(client *c, uint64_t messages) {
  if (!checking) c->next = c->bytes / frame_len, c->part_len = c->bytes % frame_len;
  if (c->part_len > 0) c->corrupt++, c->bad++;
  if (c->next <= messages)
    go_on(c, messages);
  else
    c->corrupt += c->next - messages;
}

static void finish(uint64_t messages) {
  bool stalled = false;
  wake_at(1);
  while (open_count > 0 && !stalled) turn(STALL_MS, &stalled);
  uint64_t total = 0, low = UINT64_MAX, high = 0, lost = 0, corrupt = 0;
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    judge_end(c, messages);
    total += c->bytes, lost += c->lost, corrupt += c->corrupt;
    low = c->bytes < low ? c->bytes : low;
    high = c->bytes > high ? c->bytes : high;
  }
  printf(
      "{\"bytes\": %llu, \"bytes_min\": %llu, \"bytes_max\": %llu, \"lost\": %llu, "
      "\"corrupt\": %llu, \"cpu_s\": %.9f, \"last_s\": %.9f, "
      "\"pause_s\": %.9f}\n",
      (unsigned long long)total, (unsigned long long)low, (unsigned long long)high,
      (unsigned long long)lost, (unsigned long long)corrupt, cpu_s() - mark_cpu_s, last_s, pause_s);
}

static void watch(int fd, client *c) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}

static bool is_ready(const char *data, size_t len) {
  return len >= ready.len && memcmp(data + len - ready.len, ready.data, ready.len) == 0;
}

/* Takes what the server says before it sends messages; none come until all clients are ready. */
static void await_ready(client *c) {
  struct timeval stall = {.tv_sec = STALL_MS / 1000}, none = {0};
  char said[4096];
  size_t len = 0;
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
  while (!is_ready(said, len)) {
    ssize_t got = len < sizeof said ? recv(c->fd, said + len, sizeof said - len, 0) : 0;
    if (got <= 0) die("the server did not answer the handshake as expected");
    len += (size_t)got;
  }
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
}

static void say(const client *c, const wire *what) {
  if (send(c->fd, what->data, what->len, MSG_NOSIGNAL) != (ssize_t)what->len)
    die("a client cannot speak: %s", strerror(errno));
}

static void connect_all(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (size_t i = 0; i < client_count; i++) {
    client *c = &clients[i];
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
      die("client %zu of %zu: %s", i + 1, client_count, strerror(errno));
    say(c, &hello);
    c->part = malloc(frame_len);
    if (!c->part) die("out of memory at client %zu", i + 1);
  }
  for (size_t i = 0; i < client_count; i++) {
    await_ready(&clients[i]);
    say(&clients[i], &begin);
    watch(clients[i].fd, &clients[i]);
  }
  open_count = client_count;
  wake_at(WAKE_FRAMES * frame_len);
}

static void parse_bytes(const char *name, const char *text, wire *to) {
  if (strcmp(text, "-") == 0) return;
  for (; *text; text += 2) {
    unsigned byte;
    if (to->len == WIRE_MAX || sscanf(text, "%2x", &byte) != 1 || !text[1])
      die("%s: '%s' is not up to %d bytes in hexadecimal", name, text, WIRE_MAX);
    to->data[to->len++] = (char)byte;
  }
}

static void start(char **argv) {
  uint16_t port = (uint16_t)parse_count("PORT", argv[1], 1, 65535);
  client_count = parse_count("CLIENTS", argv[2], 1, CLIENTS_MAX);
  size = parse_count("SIZE", argv[3], 1, SIZE_MAX_BYTES);
  parse_bytes("HELLO", argv[5], &hello);
  parse_bytes("READY", argv[6], &ready);
  parse_bytes("BEGIN", argv[7], &begin);
  parse_bytes("HEAD", argv[8], &head);
  parse_bytes("TAIL", argv[9], &tail);
  frame_len = head.len + size + tail.len;
  checking = strcmp(argv[4], "check") == 0;
  if (!checking && strcmp(argv[4], "discard") != 0)
    die("'%s' is neither discard nor check", argv[4]);
  messages_init();
  clients = calloc(client_count, sizeof *clients);
  due = malloc(frame_len);
  taken = malloc(TAKE_BYTES);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (!clients || !due || !taken || epoll_fd < 0) die("cannot start: %s", strerror(errno));
  memcpy(due, head.data, head.len);
  memcpy(due + head.len + size, tail.data, tail.len);
  connect_all(port);
}

int main(int argc, char **argv) {
  if (argc != 10) die("usage: sink PORT CLIENTS SIZE discard|check HELLO READY BEGIN HEAD TAIL");
  setvbuf(stdout, NULL, _IOLBF, 0);
  start(argv);
  watch(STDIN_FILENO, NULL);
  printf("{\"clients\": %zu}\n", client_count);
  char line[64], verb[16], count[32];
  for (bool ended = false; !ended;) {
    bool stalled;
    if (!turn(-1, &stalled)) continue;
    if (!fgets(line, sizeof line, stdin)) return 0;
    if (sscanf(line, "%15s %31s", verb, count) != 2) die("'%s' is no command", line);
    uint64_t messages = parse_count(verb, count, 0, SIZE_MAX / SIZE_MAX_BYTES / 2);
    if (strcmp(verb, "await") == 0)
      await(messages);
    else if (strcmp(verb, "mark") == 0)
      mark(messages);
    else if (strcmp(verb, "finish") == 0)
      finish(messages), ended = true;
    else
      die("'%s' is none of await, mark and finish", verb);
  }
  return 0;
}
