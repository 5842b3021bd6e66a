/* posix_loops.c: the loops of benchmarks/posix_cases.py in plain C, called from Python.
 *
 * Purpose:   what a loop costs when nothing but the system calls is left.
 * Ownership: everything is the caller's.
 * Threading: none.
 * Limits:    DATAGRAMS_MAX datagrams a call.
 *
 * Each function returns the seconds that its loop took, or -1 when a call moved too little.
 */
#include <sys/socket.h>

#include "bench.h"

enum { DATAGRAMS_MAX = 1024 };

/* count calls of size bytes each on one descriptor. */
double loop_send(int fd, const void *data, size_t size, size_t count);
double loop_recv(int fd, void *buffer, size_t size, size_t count);

/* One call for each of count descriptors; results[i] is bytes or -errno. */
double loop_send_each(const int *fds, size_t count, const void *data, size_t size,
                      int64_t *results);
double loop_recv_each(const int *fds, size_t count, char *rows, size_t size, int64_t *results);

/* count datagrams of size bytes in one call, whose headers are ready before the time begins. */
double loop_sendmmsg(int fd, char *rows, size_t count, size_t size);
double loop_recvmmsg(int fd, char *rows, size_t count, size_t size, int64_t *lengths);

double loop_send(int fd, const void *data, size_t size, size_t count) {
  double begun = now_s();
  for (size_t i = 0; i < count; i++)
    if (send(fd, data, size, 0) != (ssize_t)size) return -1;
  return now_s() - begun;
}

double loop_recv(int fd, void *buffer, size_t size, size_t count) {
  double begun = now_s();
  for (size_t i = 0; i < count; i++)
    if (recv(fd, buffer, size, 0) != (ssize_t)size) return -1;
  return now_s() - begun;
}

double loop_send_each(const int *fds, size_t count, const void *data, size_t size,
                      int64_t *results) {
  double begun = now_s();
  for (size_t i = 0; i < count; i++) {
    ssize_t sent = send(fds[i], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    results[i] = sent < 0 ? -errno : sent;
  }
  return now_s() - begun;
}

double loop_recv_each(const int *fds, size_t count, char *rows, size_t size, int64_t *results) {
  double begun = now_s();
  for (size_t i = 0; i < count; i++) {
    ssize_t received = recv(fds[i], rows + i * size, size, MSG_DONTWAIT);
    results[i] = received < 0 ? -errno : received;
  }
  return now_s() - begun;
}

static void point_at(struct mmsghdr *messages, struct iovec *iov, char *rows, size_t count,
                     size_t size) {
  if (count > DATAGRAMS_MAX) die("%zu datagrams are more than %d", count, DATAGRAMS_MAX);
  for (size_t i = 0; i < count; i++) {
    iov[i] = (struct iovec){.iov_base = rows + i * size, .iov_len = size};
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
  }
}

double loop_sendmmsg(int fd, char *rows, size_t count, size_t size) {
  static struct mmsghdr messages[DATAGRAMS_MAX];
  static struct iovec iov[DATAGRAMS_MAX];
  point_at(messages, iov, rows, count, size);
  double begun = now_s();
  if (sendmmsg(fd, messages, (unsigned)count, 0) != (int)count) return -1;
  return now_s() - begun;
}

double loop_recvmmsg(int fd, char *rows, size_t count, size_t size, int64_t *lengths) {
  static struct mmsghdr messages[DATAGRAMS_MAX];
  static struct iovec iov[DATAGRAMS_MAX];
  point_at(messages, iov, rows, count, size);
  double begun = now_s();
  if (recvmmsg(fd, messages, (unsigned)count, MSG_WAITFORONE, NULL) != (int)count) return -1;
  for (size_t i = 0; i < count; i++) lengths[i] = messages[i].msg_len;
  return now_s() - begun;
}
