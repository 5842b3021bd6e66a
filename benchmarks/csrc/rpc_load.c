/* rpc_load.c: the client of the bar for remote calls, what benchmarks/rpc_client.py is for others.
 *
 *   rpc_load PORT BYTES DEPTH blocking|busy WARM_UP SECONDS
 *
 * Sends DEPTH requests of BYTES at once, waits for as many bytes, compares them, and does so again
 * until the time is over. Then it prints {"calls": ..., "seconds": ..., "p50_us": ..., "p99_us":
 * ..., "wrong": ...}. A latency is that of a whole round; making a round's bytes and comparing the
 * answer is not part of it, nor of the seconds. `busy` never sleeps.
 */
#include "latency.h"
#include "net.h"

enum { DEPTH_MAX = 1024, FRAME_BYTES_MAX = 1 << 28 };

static char *asked, *answered;
static size_t round_len;

/* Each round has a number of its own in each request. */
static void fill(uint64_t number, size_t frame_len) {
  for (size_t at = 0; at + sizeof number <= round_len; at += frame_len)
    memcpy(asked + at, &number, sizeof number);
}

static void take_all(int fd, int flags) {
  for (size_t got = 0; got < round_len;) {
    ssize_t more = recv(fd, answered + got, round_len - got, flags);
    if (more > 0)
      got += (size_t)more;
    else if (more == 0 || errno != EAGAIN)
      die("server went away: %s", more ? strerror(errno) : "end of stream");
  }
}

/* Returns how many rounds had a wrong answer. */
static size_t run(int fd, size_t frame_len, int flags, double seconds) {
  uint64_t until_ns = now_ns() + (uint64_t)(seconds * 1e9);
  size_t wrong = 0;
  latency_count = 0;
  for (uint64_t number = 0, ended_ns = 0; ended_ns < until_ns; number++) {
    fill(number, frame_len);
    uint64_t begun_ns = now_ns();
    net_send_all(fd, asked, round_len);
    take_all(fd, flags);
    ended_ns = now_ns();
    latency_note(ended_ns - begun_ns);
    wrong += memcmp(asked, answered, round_len) != 0;
  }
  return wrong;
}

static double latency_sum_s(void) {
  double sum = 0;
  for (size_t i = 0; i < latency_count; i++) sum += latencies_ns[i] / 1e9;
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 7) die("usage: rpc_load PORT BYTES DEPTH blocking|busy WARM_UP SECONDS");
  size_t frame_len = parse_count("BYTES", argv[2], 1, FRAME_BYTES_MAX);
  size_t depth = parse_count("DEPTH", argv[3], 1, DEPTH_MAX);
  int flags = strcmp(argv[4], "busy") ? 0 : MSG_DONTWAIT;
  round_len = frame_len * depth;
  messages_init();
  asked = malloc(round_len);
  answered = malloc(round_len);
  if (!asked || !answered) die("out of memory");
  for (size_t at = 0; at < round_len; at++) asked[at] = filler[at % FILLER_COUNT];
  int fd = net_connect(argv[1]);
  run(fd, frame_len, flags, atof(argv[5]));
  size_t wrong = run(fd, frame_len, flags, atof(argv[6]));
  double took = latency_sum_s();
  latency_sort();
  printf(
      "{\"calls\": %zu, \"seconds\": %.9f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"wrong\": %zu}\n",
      latency_count * depth, took, latency_quantile_us(0.5), latency_quantile_us(0.99), wrong);
  close(fd);
  return 0;
}
