#include <string.h>

#include "wire/fs_codec.h"

/* No framing: a message is whatever arrived at once, up to message_bytes_max bytes of it. */

static ssize_t raw_measure(const uint8_t *data, size_t len) {
  (void)data;
  return len ? (ssize_t)len : FS_EEMPTY;
}

static void raw_encode(uint8_t *dst, size_t framed, const uint8_t *data) {
  if (framed) memcpy(dst, data, framed);
}

static ssize_t raw_decode(const uint8_t *buf, size_t len, size_t message_bytes_max,
                          fs_slice *payload) {
  *payload = (fs_slice){buf, fs_min(len, message_bytes_max)};
  return (ssize_t)payload->len;
}

/* Nothing is ever unfinished; what was kept for want of room is taken as it is. */
static ssize_t raw_rest(fs_slice kept, fs_slice more, size_t message_bytes_max, bool *whole) {
  (void)kept;
  (void)more;
  (void)message_bytes_max;
  *whole = true;
  return 0;
}

const fs_codec fs_codec_raw = {
    .name = "raw",
    .header_len = 0,
    .measure = raw_measure,
    .encode = raw_encode,
    .decode = raw_decode,
    .rest = raw_rest,
};
