/* The batch calls: many descriptors, many datagrams, and addresses in rows that end at a guard
 * page. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "check.h"
#include "fault.h"
#include "io/fs_batch.h"

enum { PAIRS = 5, MANY = 2 * FS_BATCH_PIECE + 7 };

static const fs_names NOBODY = {0};

static void open_pairs(int32_t *near, int32_t *far, int count) {
  for (int i = 0; i < count; i++) {
    int fds[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    near[i] = fds[0], far[i] = fds[1];
  }
}

static void close_all(const int32_t *fds, int count) {
  for (int i = 0; i < count; i++) CHECK_INT(close(fds[i]), 0);
}

static struct iovec bytes_of(void *data, size_t len) {
  return (struct iovec){.iov_base = data, .iov_len = len};
}

/* ---- Many descriptors ---- */

static void each_gets_the_same_or_its_own(void) {
  int32_t near[PAIRS], far[PAIRS];
  int64_t results[PAIRS];
  char rows[PAIRS][4];
  struct iovec own[PAIRS], into[PAIRS], same = bytes_of("same", 4);
  open_pairs(near, far, PAIRS);
  for (int i = 0; i < PAIRS; i++) {
    own[i] = bytes_of("own!", (size_t)i % 4 + 1);
    into[i] = bytes_of(rows[i], sizeof rows[i]);
  }
  CHECK_INT(fs_send_each(near, 0, PAIRS, &same, 0, MSG_DONTWAIT, results), PAIRS);
  CHECK_INT(fs_recv_each(far, 0, PAIRS, into, MSG_DONTWAIT, results), PAIRS);
  for (int i = 0; i < PAIRS; i++) CHECK_BYTES(rows[i], (size_t)results[i], "same", 4);
  CHECK_INT(fs_send_each(near, 0, PAIRS, own, 1, MSG_DONTWAIT, results), PAIRS);
  for (int i = 0; i < PAIRS; i++) CHECK_INT(results[i], i % 4 + 1);
  CHECK_INT(fs_recv_each(far, 0, PAIRS, into, MSG_DONTWAIT, results), PAIRS);
  for (int i = 0; i < PAIRS; i++) CHECK_BYTES(rows[i], (size_t)results[i], "own!", own[i].iov_len);
  CHECK_INT(fs_recv_each(far, 0, PAIRS, into, MSG_DONTWAIT, results), PAIRS);
  for (int i = 0; i < PAIRS; i++) CHECK_INT(results[i], -EAGAIN);
  close_all(near, PAIRS);
  close_all(far, PAIRS);
}

static void a_failure_is_told_at_its_place(void) {
  int32_t near[PAIRS], far[PAIRS];
  int64_t results[PAIRS];
  struct iovec data = bytes_of("x", 1);
  open_pairs(near, far, PAIRS);
  close(far[1]);
  int32_t fds[] = {near[0], near[1], -1, near[3]};
  CHECK_INT(fs_send_each(fds, 0, 4, &data, 0, MSG_DONTWAIT | MSG_NOSIGNAL, results), 4);
  CHECK_INT(results[0], 1);
  CHECK_INT(results[1], -EPIPE);
  CHECK_INT(results[2], -EBADF);
  CHECK_INT(results[3], 1);
  close_all(near, PAIRS);
  close_all(far, 1);
  close_all(far + 2, PAIRS - 2);
}

static void a_signal_stops_where_it_was(void) {
  int32_t near[PAIRS], far[PAIRS];
  int64_t results[PAIRS] = {9, 9, 9, 9, 9};
  char byte[PAIRS];
  struct iovec data = bytes_of("x", 1), into[PAIRS];
  for (int i = 0; i < PAIRS; i++) into[i] = bytes_of(byte + i, 1);
  open_pairs(near, far, PAIRS);
  fault_plan(FAULT_send, 3, 1, EINTR);
  fault_on();
  CHECK_INT(fs_send_each(near, 0, PAIRS, &data, 0, 0, results), 2);
  CHECK_INT(results[2], 9);
  CHECK_INT(fs_send_each(near, 2, PAIRS, &data, 0, 0, results), PAIRS);
  fault_off();
  fault_plan(FAULT_recv, 5, 1, EINTR);
  fault_on();
  CHECK_INT(fs_recv_each(far, 0, PAIRS, into, 0, results), 4);
  CHECK_INT(fs_recv_each(far, 4, PAIRS, into, 0, results), PAIRS);
  fault_off();
  for (int i = 0; i < PAIRS; i++) CHECK_INT(results[i], 1);
  close_all(near, PAIRS);
  close_all(far, PAIRS);
}

/* ---- Many datagrams ---- */

static int udp_socket(struct sockaddr_in *name) {
  socklen_t len = sizeof *name;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CHECK_INT(bind(fd, (struct sockaddr *)name, sizeof *name), 0);
  CHECK_INT(getsockname(fd, (struct sockaddr *)name, &len), 0);
  return fd;
}

/* Memory of len bytes that ends where no more can be touched. */
static unsigned char *guarded(size_t len) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  unsigned char *all = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED);
  CHECK_INT(mprotect(all, page, PROT_READ | PROT_WRITE), 0);
  return all + page - len;
}

static void more_than_a_piece_goes_and_comes(void) {
  static unsigned char rows[MANY][2], into_rows[MANY][4];
  static struct iovec iov[MANY], into[MANY];
  static int64_t lengths[MANY];
  int fds[2], room = 1 << 20;
  CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
  CHECK_INT(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
  for (int i = 0; i < MANY; i++) {
    rows[i][0] = (unsigned char)i, rows[i][1] = (unsigned char)(i >> 8);
    iov[i] = bytes_of(rows[i], 2);
    into[i] = bytes_of(into_rows[i], 4);
  }
  ssize_t sent = fs_send_datagrams(fds[0], iov, MANY, NOBODY, MSG_DONTWAIT);
  CHECK_INT(sent, MANY);
  CHECK_INT(fs_recv_datagrams(fds[1], into, MANY, lengths, NOBODY, NULL, MSG_WAITFORONE), MANY);
  for (int i = 0; i < MANY; i++) CHECK_BYTES(into_rows[i], (size_t)lengths[i], rows[i], 2);
  CHECK_INT(fs_recv_datagrams(fds[1], into, MANY, lengths, NOBODY, NULL, MSG_DONTWAIT), -EAGAIN);
  close(fds[0]);
  close(fds[1]);
}

static void what_was_sent_before_a_failure_counts(void) {
  static unsigned char big[1 << 17];
  struct sockaddr_in name;
  int fd = udp_socket(&name);
  struct iovec iov[] = {bytes_of("a", 1), bytes_of("b", 1), bytes_of(big, sizeof big)};
  fs_names to = {.rows = (unsigned char *)&name, .row_len = sizeof name};
  CHECK_INT(fs_send_datagrams(fd, iov, 3, to, 0), 2);
  CHECK_INT(fs_send_datagrams(fd, iov + 2, 1, to, 0), -EMSGSIZE);
  CHECK_INT(fs_send_datagrams(fd, iov, 0, to, 0), 0);
  close(fd);
}

static void senders_fill_their_rows_to_the_end(void) {
  struct sockaddr_in name;
  int fd = udp_socket(&name);
  unsigned char *row = guarded(28), byte, expected[28] = {0};
  int64_t length;
  struct iovec data = bytes_of("x", 1), into = bytes_of(&byte, 1);
  fs_names to = {.rows = (unsigned char *)&name, .row_len = sizeof name};
  fs_names from = {.rows = row, .row_len = 28, .step = 28};
  memset(row, 0xff, 28);
  memcpy(expected, &name, sizeof name);
  CHECK_INT(fs_send_datagrams(fd, &data, 1, to, 0), 1);
  CHECK_INT(fs_recv_datagrams(fd, &into, 1, &length, from, NULL, 0), 1);
  CHECK_BYTES(row, 28, expected, 28);
  CHECK_INT(fs_send_datagrams(fd, &data, 1, from, 0), 1);
  close(fd);
}

/* Rows without an end of their own, and rows too short to hold what they begin. */
static void rows_are_read_within_their_bounds(void) {
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct iovec data = bytes_of("x", 1);
  for (size_t len = 0; len <= sizeof(struct sockaddr_un); len++) {
    for (sa_family_t family = AF_UNSPEC; family <= AF_INET6; family++) {
      unsigned char *row = guarded(len);
      memset(row, 'x', len);
      memcpy(row, &family, fs_min(len, sizeof family));
      fs_names to = {.rows = row, .row_len = len, .step = len};
      CHECK(fs_send_datagrams(fd, &data, 1, to, 0) < 0);
    }
  }
  close(fd);
}

static void unix_names_end_where_they_do(void) {
  char path[] = "/tmp/fastsock-batch-XXXXXX", byte;
  struct sockaddr_un names[2] = {{.sun_family = AF_UNIX}, {.sun_family = AF_UNIX}};
  socklen_t lens[2];
  int64_t length;
  struct iovec data[] = {bytes_of("1", 1), bytes_of("2", 1)}, into = bytes_of(&byte, 1);
  CHECK(mkdtemp(path) != NULL);
  snprintf(names[0].sun_path, sizeof names[0].sun_path, "%s/socket", path);
  lens[0] = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(names[0].sun_path) + 1);
  snprintf(names[1].sun_path + 1, sizeof names[1].sun_path - 1, "fastsock %d", (int)getpid());
  lens[1] = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(names[1].sun_path + 1));
  int fds[] = {socket(AF_UNIX, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_DGRAM, 0)};
  for (int i = 0; i < 2; i++) CHECK_INT(bind(fds[i], (struct sockaddr *)&names[i], lens[i]), 0);
  fs_names to = {.rows = (unsigned char *)names, .row_len = sizeof *names, .step = sizeof *names};
  CHECK_INT(fs_send_datagrams(fds[0], data, 2, to, 0), 2);
  for (int i = 0; i < 2; i++) {
    CHECK_INT(fs_recv_datagrams(fds[i], &into, 1, &length, NOBODY, NULL, MSG_DONTWAIT), 1);
    CHECK_INT(byte, '1' + i);
    close(fds[i]);
  }
  unlink(names[0].sun_path);
  rmdir(path);
}

static void joined_datagrams_tell_their_size(void) {
  struct sockaddr_in name;
  int fd = udp_socket(&name), on = 1, size = 10;
  unsigned char bytes[95] = {1}, received[2][100];
  int64_t lengths[2], segments[2];
  struct iovec data[] = {bytes_of(bytes, 95), bytes_of(bytes, 5)};
  struct iovec into[] = {bytes_of(received[0], 100), bytes_of(received[1], 100)};
  fs_names to = {.rows = (unsigned char *)&name, .row_len = sizeof name};
  CHECK_INT(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof size), 0);
  CHECK_INT(setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on), 0);
  CHECK_INT(fs_send_datagrams(fd, data, 2, to, 0), 2);
  CHECK_INT(fs_recv_datagrams(fd, into, 2, lengths, NOBODY, segments, MSG_WAITFORONE), 2);
  CHECK_INT(lengths[0], 95);
  CHECK_INT(segments[0], 10);
  CHECK_INT(lengths[1], 5);
  CHECK_INT(segments[1], 0);
  close(fd);
}

CHECK_UNIT(TEST(each_gets_the_same_or_its_own), TEST(a_failure_is_told_at_its_place),
           TEST(a_signal_stops_where_it_was), TEST(more_than_a_piece_goes_and_comes),
           TEST(what_was_sent_before_a_failure_counts), TEST(senders_fill_their_rows_to_the_end),
           TEST(rows_are_read_within_their_bounds), TEST(unix_names_end_where_they_do),
           TEST(joined_datagrams_tell_their_size))
