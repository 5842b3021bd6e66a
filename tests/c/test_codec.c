/* The codecs, on bytes with a guard page right before and right behind them: a codec that looks at
 * a byte outside of what it was given ends the test with a fault. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "wire/fs_codec.h"
#include "engine/fs_inbox.h"

enum { AREA = 1 << 17, MESSAGE_MAX = 40, MESSAGES_MAX = 4096, STREAM_MAX = 1 << 16 };

static uint8_t *guarded_area(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  uint8_t *all = mmap(NULL, AREA + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED);
  CHECK_INT(mprotect(all + page, AREA, PROT_READ | PROT_WRITE), 0);
  return all + page;
}

/* A copy that ends where the page does, or begins where it does. */
static uint8_t *at_end(const void *data, size_t len) {
  static uint8_t *areas[2];
  static int turn;
  turn = !turn;
  if (!areas[turn]) areas[turn] = guarded_area();
  return len ? memcpy(areas[turn] + AREA - len, data, len) : areas[turn] + AREA;
}

static uint8_t *at_begin(const void *data, size_t len) {
  static uint8_t *areas[2];
  static int turn;
  turn = !turn;
  if (!areas[turn]) areas[turn] = guarded_area();
  return len ? memcpy(areas[turn], data, len) : areas[turn];
}

/* ---- What comes out of a stream ---- */

typedef struct result {
  ssize_t error;
  size_t count, lens[MESSAGES_MAX], used;
  uint8_t bytes[STREAM_MAX];
} result;

static void note(result *out, fs_slice message) {
  CHECK(out->count < MESSAGES_MAX && out->used + message.len <= STREAM_MAX);
  out->lens[out->count++] = message.len;
  if (message.len) memcpy(out->bytes + out->used, message.data, message.len);
  out->used += message.len;
}

static void check_same(const result *a, const result *b) {
  CHECK_INT(a->error, b->error);
  CHECK_BYTES(a->lens, a->count * sizeof *a->lens, b->lens, b->count * sizeof *b->lens);
  CHECK_BYTES(a->bytes, a->used, b->bytes, b->used);
}

/* The whole frames of data. Returns the bytes that they take. */
static size_t route(const fs_codec *codec, const uint8_t *data, size_t len, result *out) {
  size_t taken = 0;
  while (taken < len) {
    fs_slice message;
    ssize_t frame_len = codec->decode(data + taken, len - taken, MESSAGE_MAX, &message);
    if (frame_len < 0) out->error = frame_len;
    if (frame_len <= 0) break;
    note(out, message);
    taken += (size_t)frame_len;
  }
  return taken;
}

/* Takes bytes that have just arrived, as fs_receive.c does. */
static void take(const fs_codec *codec, fs_inbox **inbox, const uint8_t *data, size_t len,
                 result *out) {
  if (*inbox) {
    fs_slice kept = {at_end((*inbox)->data, (*inbox)->len), (*inbox)->len};
    bool whole;
    ssize_t rest = codec->rest(kept, (fs_slice){data, len}, MESSAGE_MAX, &whole);
    if (rest < 0) out->error = rest;
    if (rest < 0) return;
    CHECK((size_t)rest <= len);
    CHECK_INT(fs_inbox_push(inbox, data, (size_t)rest), 0);
    data += rest;
    len -= (size_t)rest;
    if (!whole) {
      CHECK_INT(len, 0);
      return;
    }
    const uint8_t *frame = at_begin((*inbox)->data, (*inbox)->len);
    size_t taken = route(codec, frame, (*inbox)->len, out);
    if (out->error == 0) CHECK_INT(taken, (*inbox)->len);
    free(*inbox);
    *inbox = NULL;
    if (out->error) return;
  }
  size_t taken = route(codec, data, len, out);
  if (out->error == 0) CHECK_INT(fs_inbox_push(inbox, data + taken, len - taken), 0);
}

/* The stream, fed in a piece of first bytes, then in pieces of next; 0: of any length. */
static void feed(const fs_codec *codec, const uint8_t *stream, size_t len, size_t first,
                 size_t next, result *out) {
  fs_inbox *inbox = NULL;
  memset(out, 0, sizeof *out);
  for (size_t at = 0; at < len && out->error == 0;) {
    size_t wanted = at ? next : first, left = len - at;
    if (wanted == 0) wanted = 1 + check_random() % 30;
    size_t piece_len = fs_min(wanted, left);
    const uint8_t *data =
        at % 2 ? at_end(stream + at, piece_len) : at_begin(stream + at, piece_len);
    take(codec, &inbox, data, piece_len, out);
    at += piece_len;
  }
  free(inbox);
}

/* However the stream is cut, the same comes out: whole, byte by byte, and split at every place. */
static void check_cuts(const fs_codec *codec, const void *stream, size_t len, result *out) {
  static result cut;
  feed(codec, stream, len, len, len, out);
  feed(codec, stream, len, 1, 1, &cut);
  check_same(&cut, out);
  for (size_t first = 1; first < len; first++) {
    feed(codec, stream, len, first, len, &cut);
    check_same(&cut, out);
  }
}

/* What comes out of stream is these messages, written one behind the other with a | each. */
static void check_stream(const fs_codec *codec, const char *stream, size_t len,
                         const char *expected, ssize_t error) {
  static result out;
  char shown[4 * STREAM_MAX];
  size_t shown_len = 0, at = 0;
  check_cuts(codec, stream, len, &out);
  for (size_t i = 0; i < out.count; i++) {
    memcpy(shown + shown_len, out.bytes + at, out.lens[i]);
    at += out.lens[i];
    shown_len += out.lens[i];
    shown[shown_len++] = '|';
  }
  CHECK_BYTES(shown, shown_len, expected, strlen(expected));
  CHECK_INT(out.error, error);
}

/* ---- Framing ---- */

/* The frame, in guarded memory of exactly the measured size. */
static const uint8_t *frame(const fs_codec *codec, const void *data, size_t len,
                            size_t *frame_len) {
  const uint8_t *message = at_end(data, len);
  ssize_t measured = codec->measure(message, len);
  CHECK(measured > 0 && (size_t)measured <= len + codec->header_len);
  uint8_t *place = at_end("", 0) - measured;
  memset(place, 0xaa, (size_t)measured);
  codec->encode(place, (size_t)measured, at_begin(data, len));
  *frame_len = (size_t)measured;
  return place;
}

static void line_frames(void) {
  static const struct {
    const char *message, *framed;
  } cases[] = {{"", "\n"},         {"a", "a\n"},       {"\n", "\n"},     {"a\n", "a\n"},
               {"a\rb", "a\rb\n"}, {"a\r\n", "a\r\n"}, {"\r\n", "\r\n"}, {" a b ", " a b \n"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t len;
    const uint8_t *bytes = frame(&fs_codec_line, cases[i].message, strlen(cases[i].message), &len);
    CHECK_BYTES(bytes, len, cases[i].framed, strlen(cases[i].framed));
  }
}

static void line_refuses_a_newline_inside(void) {
  static const char *const bad[] = {"a\nb", "\na", "\n\n", "a\n\n", "a\nb\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK_INT(fs_codec_line.measure(at_end(bad[i], strlen(bad[i])), strlen(bad[i])), FS_ENEWLINE);
}

static void line_refuses_carriage_returns_at_its_end(void) {
  static const char *const bad[] = {"\r", "a\r", "a\r\r"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    CHECK_INT(fs_codec_line.measure(at_end(bad[i], strlen(bad[i])), strlen(bad[i])), FS_ERETURN);
}

static void length_frames(void) {
  static const uint8_t message[300] = {7, '\n', 9};
  for (size_t len = 0; len <= sizeof message; len++) {
    size_t frame_len;
    const uint8_t *bytes = frame(&fs_codec_length, message, len, &frame_len);
    uint8_t header[4] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len};
    CHECK_BYTES(bytes, 4, header, 4);
    CHECK_BYTES(bytes + 4, frame_len - 4, message, len);
  }
}

static void nothing_at_all(void) {
  const fs_codec *codecs[] = {&fs_codec_line, &fs_codec_length};
  for (int i = 0; i < 2; i++) {
    fs_slice message;
    CHECK_INT(codecs[i]->decode(at_end("", 0), 0, MESSAGE_MAX, &message), 0);
    CHECK(codecs[i]->measure(NULL, 0) > 0);
  }
}

/* ---- Decoding ---- */

static void line_streams(void) {
  static const struct {
    const char *stream, *messages;
  } cases[] = {{"\n", "|"},
               {"\r\n", "|"},
               {"a\n", "a|"},
               {"a\r\n", "a|"},
               {"a\r", ""},
               {"a", ""},
               {"a\nb", "a|"},
               {"one\r\ntwo\nthree\r\n", "one|two|three|"},
               {"\n\n\r\n\n", "||||"},
               {"a\rb\n\r\r\nc", "a\rb||"},
               {"\r", ""}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_stream(&fs_codec_line, cases[i].stream, strlen(cases[i].stream), cases[i].messages, 0);
}

static void line_limit(void) {
  for (size_t len = MESSAGE_MAX - 1; len <= MESSAGE_MAX + 3; len++) {
    char text[3 * MESSAGE_MAX], shown[2 * MESSAGE_MAX] = "";
    memset(text, 'x', sizeof text);
    bool fits = len <= MESSAGE_MAX;
    if (fits) sprintf(shown, "%.*s|", (int)len, text);
    text[len] = '\n';
    check_stream(&fs_codec_line, text, len + 1, shown, fits ? 0 : FS_ETOOBIG);
    text[len] = '\r';
    text[len + 1] = '\n';
    check_stream(&fs_codec_line, text, len + 2, shown, fits ? 0 : FS_ETOOBIG);
    /* An unfinished line may yet end with \r\n; one more byte, and it cannot. */
    memset(text, 'x', sizeof text);
    check_stream(&fs_codec_line, text, len, "", len <= MESSAGE_MAX + 1 ? 0 : FS_ETOOBIG);
  }
}

static void length_limit(void) {
  static const uint32_t lens[] = {
      0,       1,         MESSAGE_MAX - 1,         MESSAGE_MAX, MESSAGE_MAX + 1, 1 << 16,
      1 << 24, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
    char stream[4 + 2 * MESSAGE_MAX], shown[2 * MESSAGE_MAX] = "";
    memset(stream, 'x', sizeof stream);
    for (int byte = 0; byte < 4; byte++) stream[byte] = (char)(lens[i] >> (24 - 8 * byte));
    bool fits = lens[i] <= MESSAGE_MAX;
    if (fits) sprintf(shown, "%.*s|", (int)lens[i], stream + 4);
    check_stream(&fs_codec_length, stream, fits ? 4 + lens[i] : sizeof stream, shown,
                 fits ? 0 : FS_ETOOBIG);
    /* Known to be too big as soon as the header is whole. */
    check_stream(&fs_codec_length, stream, 4, lens[i] ? "" : shown, fits ? 0 : FS_ETOOBIG);
    check_stream(&fs_codec_length, stream, 3, "", 0);
  }
}

/* Of what is too long anyway, however it is cut. */
static void another_framing(void) {
  static const struct {
    const fs_codec *codec;
    const char *stream;
    size_t len;
    int result;
  } cases[] = {
      {&fs_codec_length, "hello\n", 6, FS_EFRAMING},
      {&fs_codec_length, "GET / HTTP/1.1\r\n", 16, FS_EFRAMING},
      {&fs_codec_length, "\r\nhi", 4, FS_EFRAMING},
      {&fs_codec_length, "\x16\x03\x01\x02\x00", 5, FS_EFRAMING},
      {&fs_codec_length, "hi\n", 3, 0},
      {&fs_codec_length, "abc\x7f", 4, FS_ETOOBIG},
      {&fs_codec_line, "\0\0\0( a message of a length that leads it, no line", 50, FS_EFRAMING},
      {&fs_codec_line, "\x16\3\1\2 a record of TLS, which has no newline inside", 50, FS_EFRAMING},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_stream(cases[i].codec, cases[i].stream, cases[i].len, "", cases[i].result);
}

/* ---- No framing ---- */

/* A message is what arrived, but for what is too long. */
static void raw(void) {
  CHECK_INT(fs_codec_raw.measure(NULL, 0), FS_EEMPTY);
  static const uint8_t bytes[3 * MESSAGE_MAX] = {1, '\n', 0, 4};
  for (size_t len = 1; len <= sizeof bytes; len++) {
    fs_slice message;
    const uint8_t *buf = at_end(bytes, len);
    size_t frame_len, most = fs_min(len, (size_t)MESSAGE_MAX);
    CHECK_INT(fs_codec_raw.decode(buf, len, MESSAGE_MAX, &message), most);
    CHECK(message.data == buf);
    CHECK_INT(message.len, most);
    CHECK_BYTES(frame(&fs_codec_raw, bytes, len, &frame_len), len, bytes, len);
    CHECK_INT(frame_len, len);
  }
}

/* ---- Both ---- */

static size_t random_stream(const fs_codec *codec, uint8_t *stream, result *sent) {
  size_t len = 0;
  memset(sent, 0, sizeof *sent);
  for (int i = 0; i < 12; i++) {
    uint8_t message[MESSAGE_MAX];
    size_t message_len = check_random() % (MESSAGE_MAX + 1), frame_len;
    for (size_t j = 0; j < message_len; j++) message[j] = (uint8_t)(' ' + check_random() % 90);
    note(sent, (fs_slice){message, message_len});
    const uint8_t *bytes = frame(codec, message, message_len, &frame_len);
    memcpy(stream + len, bytes, frame_len);
    len += frame_len;
  }
  return len;
}

/* What was framed comes back, however it is cut. */
static void there_and_back(void) {
  static result sent, got;
  const fs_codec *codecs[] = {&fs_codec_line, &fs_codec_length};
  for (int i = 0; i < 40; i++) {
    uint8_t stream[STREAM_MAX];
    size_t len = random_stream(codecs[i % 2], stream, &sent);
    check_cuts(codecs[i % 2], stream, len, &got);
    check_same(&got, &sent);
  }
}

/* Noise that is likely to hit headers and line ends: the cuts make no difference, nor do errors. */
static void noise(void) {
  static const uint8_t likely[] = {0, 0, 0, 0, 0, 1, 2, 40, '\n', '\n', '\r', 'x', 'y', 255};
  static result all, cut;
  const fs_codec *codecs[] = {&fs_codec_line, &fs_codec_length};
  for (int i = 0; i < 4000; i++) {
    uint8_t stream[120];
    size_t len = 1 + check_random() % sizeof stream;
    for (size_t j = 0; j < len; j++) stream[j] = likely[check_random() % sizeof likely];
    feed(codecs[i % 2], stream, len, len, len, &all);
    feed(codecs[i % 2], stream, len, 1, 1, &cut);
    check_same(&cut, &all);
    feed(codecs[i % 2], stream, len, 0, 0, &cut);
    check_same(&cut, &all);
  }
}

CHECK_UNIT(TEST(line_frames), TEST(line_refuses_a_newline_inside),
           TEST(line_refuses_carriage_returns_at_its_end), TEST(length_frames),
           TEST(nothing_at_all), TEST(line_streams), TEST(line_limit), TEST(length_limit),
           TEST(another_framing), TEST(raw), TEST(there_and_back), TEST(noise))
