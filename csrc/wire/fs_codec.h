/* fs_codec.h: how messages are framed in a byte stream.
 *
 * Purpose:   turn a message into bytes once, and find messages in bytes that arrive.
 * Ownership: a codec owns nothing and does no I/O; slices point into the caller's bytes.
 * Threading: codecs are constant.
 * Limits:    message_bytes_max bounds the payload of a frame in both directions.
 */
#ifndef FS_CODEC_H
#define FS_CODEC_H

#include "base/fs_base.h"

typedef struct fs_slice {
  const uint8_t *data;
  size_t len;
} fs_slice;

typedef struct fs_codec {
  const char *name;
  size_t header_len; /* the most that framing adds to a message */

  /* The framed size of a message. FS_ENEWLINE, FS_ERETURN, FS_EEMPTY: it cannot be framed. */
  ssize_t (*measure)(const uint8_t *data, size_t len);

  /* Writes the frame of framed bytes, as measure said, even if data has changed since. */
  void (*encode)(uint8_t *dst, size_t framed, const uint8_t *data);

  /* The first frame in buf: returns the bytes it takes and points payload at its message. 0 if
   * it is not whole yet; FS_ETOOBIG as soon as it is known to exceed message_bytes_max, FS_EFRAMING
   * if it begins like another framing, or TLS. */
  ssize_t (*decode)(const uint8_t *buf, size_t len, size_t message_bytes_max, fs_slice *payload);

  /* How many bytes of more belong to the frame that kept begins (decode found it unfinished), all
   * of them if it does not end there; *whole says whether it does. Fails as decode does. Of
   * kept it reads only a header, so a frame that comes byte by byte costs no more. */
  ssize_t (*rest)(fs_slice kept, fs_slice more, size_t message_bytes_max, bool *whole);
} fs_codec;

/* What measure returns for a message that decode has found, without reading it. */
static inline size_t fs_codec_framed_len(const fs_codec *codec, fs_slice found) {
  return codec->header_len + found.len;
}

/* The first bytes of TLS: a handshake record of version 3. */
static inline bool fs_begins_tls(const uint8_t *bytes) { return bytes[0] == 0x16 && bytes[1] == 3; }

extern const fs_codec fs_codec_line, fs_codec_length, fs_codec_raw;

#endif
