#include "io/fs_sys.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "io/fs_portable.h"

#define RETRY(call)                          \
  ({                                         \
    ssize_t result_;                         \
    do {                                     \
      result_ = (call);                      \
    } while (result_ < 0 && errno == EINTR); \
    result_ < 0 ? -errno : result_;          \
  })

static int stream_socket(int family) {
  int fd = fs_portable_socket(family);
  return fd < 0 ? -errno : fd;
}

int fs_sys_spare(void) { return stream_socket(AF_UNIX); }

static void set_nodelay(int fd, int family) {
  int on = 1;
  /* A hint: a socket without Nagle's algorithm is faster, one with it still works. */
  if (family != AF_UNIX) (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int fs_sys_accept(int listen_fd, fs_addr *peer) {
  peer->len = sizeof *peer - offsetof(fs_addr, any);
  int fd = RETRY(fs_portable_accept(listen_fd, &peer->any, &peer->len));
  if (fd >= 0) set_nodelay(fd, peer->any.sa_family);
  return fd;
}

int fs_sys_connect(const fs_addr *addr, bool *pending) {
  int fd = stream_socket(addr->any.sa_family);
  if (fd < 0) return fd;
  set_nodelay(fd, addr->any.sa_family);
  int result = connect(fd, &addr->any, addr->len) < 0 ? -errno : 0;
  /* An interrupted connect goes on by itself, as one in progress does (connect(2)). */
  *pending = result == -EINPROGRESS || result == -EINTR;
  if (result == 0 || *pending) return fd;
  close(fd);
  return result;
}

/* TCP connects a socket to itself if the port that it is given is the one that it asks for. */
static bool is_own_peer(int fd) {
  fs_addr local, peer = {.len = sizeof peer - offsetof(fs_addr, any)};
  if (fs_sys_local_addr(fd, &local) < 0 || local.any.sa_family == AF_UNIX) return false;
  if (getpeername(fd, &peer.any, &peer.len) < 0) return false;
  return local.len == peer.len && memcmp(&local.any, &peer.any, local.len) == 0;
}

size_t fs_sys_queued(int fd) {
  int queued = 0;
  return ioctl(fd, TIOCOUTQ, &queued) == 0 && queued > 0 ? (size_t)queued : 0;
}

int fs_sys_connect_result(int fd) {
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) return -errno;
  if (error) return -error;
  if (!is_own_peer(fd)) return 0;
  /* Dissolved at once (connect(2)): shut down, its port would stay in TIME_WAIT. */
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  (void)connect(fd, &none, sizeof none);
  return -ECONNREFUSED;
}

int fs_sys_local_addr(int fd, fs_addr *addr) {
  addr->len = sizeof *addr - offsetof(fs_addr, any);
  return getsockname(fd, &addr->any, &addr->len) < 0 ? -errno : 0;
}

ssize_t fs_sys_send(int fd, const void *buf, size_t len) {
  return RETRY(send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT));
}

ssize_t fs_sys_sendv(int fd, struct iovec *iov, int iov_count) {
  /* The usual case, and the cheaper call. */
  if (iov_count == 1) return fs_sys_send(fd, iov->iov_base, iov->iov_len);
  struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)iov_count};
  return RETRY(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

ssize_t fs_sys_recv(int fd, void *buf, size_t len) {
  return RETRY(recv(fd, buf, len, MSG_DONTWAIT));
}

ssize_t fs_sys_recvv(int fd, struct iovec *iov, int iov_count) {
  struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)iov_count};
  return RETRY(recvmsg(fd, &message, MSG_DONTWAIT));
}

size_t fs_sys_unread(int fd) {
  int len = 0;
  return ioctl(fd, FIONREAD, &len) < 0 ? 0 : (size_t)len;
}

int fs_sys_shutdown_write(int fd) { return shutdown(fd, SHUT_WR) < 0 ? -errno : 0; }

int fs_sys_reset_on_close(int fd) {
  struct linger abortive = {.l_onoff = 1, .l_linger = 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof abortive) < 0 ? -errno : 0;
}

void fs_sys_close(int fd) { (void)close(fd); }

int fs_sys_poll(int fd, short events, int64_t timeout_ns) {
  struct pollfd one = {.fd = fd, .events = events};
  int result = fs_portable_poll(&one, timeout_ns);
  return result < 0 ? -errno : result;
}

uint64_t fs_sys_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
