#include <string.h>

#include "wire/fs_codec.h"

/* A line ends with \n. One that arrives may end with \r\n, as telnet sends it: carriage returns at
 * its end are no part of the message, so one that ends with them cannot be sent. */

/* Above the limit. Text begins neither with a NUL, as a length of less than 16 MiB does, nor as TLS
 * does. The limit is at least one byte, so there are two. */
static int refusal(const uint8_t *line) {
  return line[0] == 0 || fs_begins_tls(line) ? FS_EFRAMING : FS_ETOOBIG;
}

static ssize_t line_measure(const uint8_t *data, size_t len) {
  const uint8_t *newline = len ? memchr(data, '\n', len) : NULL;
  if (!newline) return len && data[len - 1] == '\r' ? FS_ERETURN : (ssize_t)len + 1;
  return newline == data + len - 1 ? (ssize_t)len : FS_ENEWLINE;
}

static void line_encode(uint8_t *dst, size_t framed, const uint8_t *data) {
  if (framed > 1) memcpy(dst, data, framed - 1);
  dst[framed - 1] = '\n';
}

static ssize_t line_decode(const uint8_t *buf, size_t len, size_t message_bytes_max,
                           fs_slice *payload) {
  const uint8_t *newline = len ? memchr(buf, '\n', len) : NULL;
  /* An unfinished line may still end in \r\n, which is no part of the message. */
  size_t text_len = newline ? (size_t)(newline - buf) : len;
  if (text_len > message_bytes_max + 1) return refusal(buf);
  if (!newline) return 0;
  while (text_len && buf[text_len - 1] == '\r') text_len--;
  if (text_len > message_bytes_max) return refusal(buf);
  *payload = (fs_slice){buf, text_len};
  return newline - buf + 1;
}

static ssize_t line_rest(fs_slice kept, fs_slice more, size_t message_bytes_max, bool *whole) {
  const uint8_t *newline = more.len ? memchr(more.data, '\n', more.len) : NULL;
  *whole = newline != NULL;
  if (newline) return newline - more.data + 1;
  if (kept.len + more.len <= message_bytes_max + 1) return (ssize_t)more.len;
  const uint8_t begin[2] = {kept.data[0], kept.len > 1 ? kept.data[1] : more.data[0]};
  return refusal(begin);
}

const fs_codec fs_codec_line = {
    .name = "line",
    .header_len = 1,
    .measure = line_measure,
    .encode = line_encode,
    .decode = line_decode,
    .rest = line_rest,
};
