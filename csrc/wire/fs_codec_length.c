#include <string.h>

#include "wire/fs_codec.h"
#include "wire/fs_length.h"

/* A frame is its payload's length, unsigned, 32 bits, big-endian, and the payload. */

enum { HEADER_LEN = FS_LENGTH_BYTES };

/* Above the limit. As text, four bytes are a length of 150 MiB or more. */
static int refusal(const uint8_t *header) {
  for (int i = 0; i < HEADER_LEN; i++) {
    bool text = (header[i] >= ' ' && header[i] <= '~') || (header[i] >= '\t' && header[i] <= '\r');
    if (!text) return fs_begins_tls(header) ? FS_EFRAMING : FS_ETOOBIG;
  }
  return FS_EFRAMING;
}

static ssize_t length_measure(const uint8_t *data, size_t len) {
  (void)data;
  return (ssize_t)len + HEADER_LEN;
}

static void length_encode(uint8_t *dst, size_t framed, const uint8_t *data) {
  fs_length_pack(dst, framed - HEADER_LEN);
  if (framed > HEADER_LEN) memcpy(dst + HEADER_LEN, data, framed - HEADER_LEN);
}

static ssize_t length_decode(const uint8_t *buf, size_t len, size_t message_bytes_max,
                             fs_slice *payload) {
  if (len < HEADER_LEN) return 0;
  size_t text_len = fs_length_unpack(buf);
  if (text_len > message_bytes_max) return refusal(buf);
  if (len - HEADER_LEN < text_len) return 0;
  *payload = (fs_slice){buf + HEADER_LEN, text_len};
  return (ssize_t)(HEADER_LEN + text_len);
}

static ssize_t length_rest(fs_slice kept, fs_slice more, size_t message_bytes_max, bool *whole) {
  uint8_t header[HEADER_LEN];
  size_t kept_len = fs_min(kept.len, sizeof header), missing = HEADER_LEN - kept_len;
  *whole = false;
  if (missing > more.len) return (ssize_t)more.len;
  memcpy(header, kept.data, kept_len);
  if (missing) memcpy(header + kept_len, more.data, missing);
  size_t text_len = fs_length_unpack(header);
  if (text_len > message_bytes_max) return refusal(header);
  size_t frame_rest = HEADER_LEN + text_len - kept.len;
  *whole = frame_rest <= more.len;
  return (ssize_t)fs_min(more.len, frame_rest);
}

const fs_codec fs_codec_length = {
    .name = "length",
    .header_len = HEADER_LEN,
    .measure = length_measure,
    .encode = length_encode,
    .decode = length_decode,
    .rest = length_rest,
};
