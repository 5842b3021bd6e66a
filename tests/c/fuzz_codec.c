#include <string.h>

#include "wire/fs_codec.h"
#include "fuzz.h"

static const fs_codec *const codecs[] = {&fs_codec_line, &fs_codec_length, &fs_codec_raw};

/* Bytes in a block of just their size, so that the sanitizer sees a step too far. */
static uint8_t *copy(const uint8_t *data, size_t len) {
  uint8_t *block = malloc(len ? len : 1);
  if (len) memcpy(block, data, len);
  return block;
}

/* A frame that was found, cut anywhere: rest finds its end from what more holds, however much more
 * there is. */
static void check_cuts(const fs_codec *codec, const uint8_t *frame, size_t frame_len, size_t len,
                       size_t bytes_max) {
  for (size_t cut = 1; cut < frame_len; cut += 1 + frame_len / 16) {
    uint8_t *kept = copy(frame, cut), *more = copy(frame + cut, len - cut);
    bool whole;
    ssize_t rest =
        codec->rest((fs_slice){kept, cut}, (fs_slice){more, len - cut}, bytes_max, &whole);
    FS_ASSERT(whole && rest == (ssize_t)(frame_len - cut));
    free(kept);
    free(more);
  }
}

/* A message that was decoded is framed again, and is decoded as it was. */
static void check_round_trip(const fs_codec *codec, fs_slice message, size_t bytes_max) {
  ssize_t framed = codec->measure(message.data, message.len);
  FS_ASSERT(framed >= (ssize_t)message.len);
  FS_ASSERT((size_t)framed == fs_codec_framed_len(codec, message));
  uint8_t *frame = malloc((size_t)framed);
  codec->encode(frame, (size_t)framed, message.data);
  fs_slice again;
  FS_ASSERT(codec->decode(frame, (size_t)framed, bytes_max, &again) == framed);
  FS_ASSERT(again.len == message.len);
  FS_ASSERT(again.len == 0 || memcmp(again.data, message.data, again.len) == 0);
  free(frame);
}

/* What is unfinished stays so for each of its beginnings, or is too big for some of them. */
static void check_unfinished(const fs_codec *codec, const uint8_t *data, size_t len,
                             size_t bytes_max) {
  for (size_t cut = 1; cut < len; cut += 1 + len / 16) {
    uint8_t *kept = copy(data, cut), *more = copy(data + cut, len - cut);
    bool whole;
    ssize_t rest =
        codec->rest((fs_slice){kept, cut}, (fs_slice){more, len - cut}, bytes_max, &whole);
    FS_ASSERT(!whole && rest == (ssize_t)(len - cut));
    free(kept);
    free(more);
  }
}

int fuzz_codec(const uint8_t *data, size_t len) {
  if (len < 2) return 0;
  const fs_codec *codec = codecs[data[0] % 3];
  size_t bytes_max = 1 + data[1];
  uint8_t *bytes = copy(data + 2, len - 2);
  for (size_t at = 0, left = len - 2; left > 0;) {
    fs_slice message;
    ssize_t taken = codec->decode(bytes + at, left, bytes_max, &message);
    FS_ASSERT(taken <= (ssize_t)left &&
              (taken >= 0 || taken == FS_ETOOBIG || taken == FS_EFRAMING));
    if (taken == 0) check_unfinished(codec, bytes + at, left, bytes_max);
    if (taken <= 0) break;
    FS_ASSERT(message.len <= bytes_max);
    /* Nothing of a raw message is ever unfinished. */
    if (codec != &fs_codec_raw) check_cuts(codec, bytes + at, (size_t)taken, left, bytes_max);
    check_round_trip(codec, message, bytes_max);
    at += (size_t)taken;
    left -= (size_t)taken;
  }
  free(bytes);
  return 0;
}
