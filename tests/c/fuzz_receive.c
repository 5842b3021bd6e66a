/* A real reactor and a real socket: nothing of the way in is imitated. The input is two bytes for
 * framing and limit, then pieces: a byte for the length, and the bytes. What the reactor reports is
 * compared with what the codec finds in all the bytes at once. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/fs_reactor.h"
#include "engine/fs_state.h"
#include "fuzz.h"

enum { STREAM_MAX = 1 << 16, LIMIT_MAX = 256 };

/* What was heard: each message with its length in front; raw messages without, since there only the
 * order of the bytes is promised. */
typedef struct record {
  uint8_t bytes[2 * STREAM_MAX + 8];
  size_t len;
  bool raw, too_big;
} record;

static fs_reactor *reactors[3];
static const fs_codec *const codecs[] = {&fs_codec_line, &fs_codec_length, &fs_codec_raw};
static uint8_t stream[STREAM_MAX];
static record heard, expected;

static fs_reactor *reactor_of(int number) {
  if (reactors[number]) return reactors[number];
  fs_config config = {.codec = codecs[number],
                      .log_bytes = 1 << 14,
                      .message_bytes_max = LIMIT_MAX,
                      .outbox_bytes_max = 1 << 14,
                      .flush_bytes = 1 << 14,
                      .linger_ns = 1000000000,
                      .connections_max = 4};
  struct sockaddr any = {.sa_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  FS_ASSERT(bind(fd, &any, sizeof any.sa_family) == 0 && listen(fd, 4) == 0);
  FS_ASSERT(fs_reactor_new(&reactors[number], &config, &fd, 1) == 0);
  atomic_store(&reactors[number]->report, true);
  return reactors[number];
}

static void note(record *to, fs_slice message) {
  uint16_t len = (uint16_t)message.len;
  if (!to->raw) {
    memcpy(to->bytes + to->len, &len, sizeof len);
    to->len += sizeof len;
  }
  if (len) memcpy(to->bytes + to->len, message.data, len);
  to->len += len;
}

/* Turns until there is nothing to do; whether the connection has ended. */
static bool turn(fs_reactor *r) {
  bool ended = false;
  int count;
  while ((count = fs_reactor_turn(r, 0)) > 0) {
    for (int i = 0; i < count; i++) {
      const fs_event *event = &r->events[i];
      if (event->kind == FS_MESSAGE) note(&heard, event->message);
      ended |= event->kind == FS_DISCONNECTED;
      heard.too_big |= event->kind == FS_DISCONNECTED &&
                       (event->reason == FS_REASON_TOO_BIG || event->reason == FS_REASON_FRAMING);
    }
    fs_reactor_consumed(r);
  }
  FS_ASSERT(count == 0);
  return ended;
}

/* Feeds the pieces; how many bytes they are in all. */
static size_t feed(fs_reactor *r, const uint8_t *data, size_t len) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  fs_addr addr;
  FS_ASSERT(fs_sys_local_addr(r->listeners.all[0].fd, &addr) == 0);
  FS_ASSERT(fd >= 0 && connect(fd, &addr.any, addr.len) == 0);
  size_t total = 0;
  bool ended = turn(r);
  for (size_t at = 0; at < len;) {
    size_t piece_len = fs_min((size_t)data[at] + 1, len - at - 1);
    at++;
    if (piece_len == 0 || total + piece_len > STREAM_MAX) break;
    memcpy(stream + total, data + at, piece_len);
    total += piece_len;
    /* Once too big, the connection may have ended at their side. */
    ssize_t sent = send(fd, data + at, piece_len, MSG_NOSIGNAL);
    FS_ASSERT(sent == (ssize_t)piece_len || heard.too_big || ended);
    at += piece_len;
    ended |= turn(r);
  }
  close(fd);
  while (!ended) ended = turn(r);
  return total;
}

int fuzz_receive(const uint8_t *data, size_t len) {
  if (len < 2) return 0;
  int number = data[0] % 3;
  fs_reactor *r = reactor_of(number);
  r->config.message_bytes_max = 1 + data[1];
  heard = expected = (record){.raw = codecs[number] == &fs_codec_raw};
  size_t total = feed(r, data + 2, len - 2);
  for (size_t at = 0; at < total;) {
    fs_slice message;
    ssize_t taken =
        codecs[number]->decode(stream + at, total - at, r->config.message_bytes_max, &message);
    expected.too_big = taken == FS_ETOOBIG || taken == FS_EFRAMING;
    if (taken <= 0) break;
    note(&expected, message);
    at += (size_t)taken;
  }
  FS_ASSERT(heard.too_big == expected.too_big);
  FS_ASSERT(heard.len == expected.len && memcmp(heard.bytes, expected.bytes, heard.len) == 0);
  return 0;
}

void fuzz_receive_end(void) {
  for (int i = 0; i < 3; i++) {
    fs_reactor_close(reactors[i], false);
    (void)turn(reactors[i]);
    fs_reactor_free(reactors[i]);
    reactors[i] = NULL;
  }
}
