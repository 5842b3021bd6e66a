/* Loaded with LD_PRELOAD into the model test: makes the kernel look stingier than it is.
 *
 * Accepted sockets get the smallest send buffer there is, so that slow peers are felt at once. With
 * STINGY, the seed, not 0: on descriptors that an epoll set watches, send, sendmsg and recv now and
 * then move fewer bytes than they could, or say EAGAIN. An edge-triggered set would then wait for
 * an edge that never comes, so the descriptor is registered again, which makes one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { FD_MAX = 65536 };

static struct {
  int epoll_fd; /* 0: not watched */
  struct epoll_event event;
} watched[FD_MAX];

static uint64_t state;

static uint64_t seed(void) {
  const char *text = getenv("STINGY");
  return text ? strtoull(text, NULL, 10) : 0;
}

static uint32_t below(uint32_t limit) {
  if (state == 0) state = seed();
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % limit;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event) {
  int result = REAL(epoll_ctl)(epoll_fd, op, fd, event);
  if (result == 0 && op == EPOLL_CTL_ADD && fd < FD_MAX) {
    watched[fd].epoll_fd = epoll_fd;
    watched[fd].event = *event;
  }
  return result;
}

int accept4(int listen_fd, struct sockaddr *addr, socklen_t *len, int flags) {
  int fd = REAL(accept4)(listen_fd, addr, len, flags), least = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
  return fd;
}

int close(int fd) {
  if (fd >= 0 && fd < FD_MAX) watched[fd].epoll_fd = 0;
  return REAL(close)(fd);
}

/* How many of len bytes may be moved; -1: none, say EAGAIN. */
static ssize_t ration(int fd, size_t len) {
  if (fd < 0 || fd >= FD_MAX || !watched[fd].epoll_fd || len == 0) return (ssize_t)len;
  if (state == 0 && seed() == 0) return (ssize_t)len;
  uint32_t dice = below(10);
  if (dice >= 5) return (ssize_t)len;
  int saved = errno;
  REAL(epoll_ctl)(watched[fd].epoll_fd, EPOLL_CTL_MOD, fd, &watched[fd].event);
  errno = saved;
  if (dice == 0) {
    errno = EAGAIN;
    return -1;
  }
  return 1 + below((uint32_t)(len < 2000 ? len : 2000));
}

ssize_t send(int fd, const void *buf, size_t len, int flags) {
  ssize_t most = ration(fd, len);
  if (most < 0) return -1;
  return REAL(send)(fd, buf, (size_t)most < len ? (size_t)most : len, flags);
}

ssize_t recv(int fd, void *buf, size_t len, int flags) {
  ssize_t most = ration(fd, len);
  if (most < 0) return -1;
  return REAL(recv)(fd, buf, (size_t)most < len ? (size_t)most : len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  size_t len = 0;
  for (size_t i = 0; i < message->msg_iovlen; i++) len += message->msg_iov[i].iov_len;
  ssize_t most = ration(fd, len);
  if (most < 0) return -1;
  struct iovec iov[64];
  struct msghdr part = *message;
  part.msg_iov = iov;
  part.msg_iovlen = 0;
  for (size_t left = (size_t)most; left > 0 && part.msg_iovlen < message->msg_iovlen;) {
    struct iovec one = message->msg_iov[part.msg_iovlen];
    if (one.iov_len > left) one.iov_len = left;
    left -= one.iov_len;
    iov[part.msg_iovlen++] = one;
  }
  return REAL(sendmsg)(fd, &part, flags);
}
