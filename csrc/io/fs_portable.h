/* fs_portable.h: Linux calls that clients use, and what does the same on any POSIX system.
 *
 * Purpose:   the only guards for other systems: clients, and a server of one client, are built
 * there. The engine is for Linux alone. Ownership: none. Threading: safe from any thread. Limits:
 * without accept4 and SOCK_CLOEXEC a child that another thread forks in between inherits a
 * descriptor. Without ppoll a wait is rounded up to a millisecond.
 *
 * FS_PLAIN_POSIX takes the other ways on Linux, too, so that they can be tried there.
 */
#ifndef FS_PORTABLE_H
#define FS_PORTABLE_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__linux__) && !defined(FS_PLAIN_POSIX)

#include <endian.h>
#include <netpacket/packet.h>
#include <time.h>

static inline int fs_portable_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static inline int fs_portable_accept(int fd, struct sockaddr *peer, socklen_t *len) {
  return accept4(fd, peer, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static inline int fs_portable_poll(struct pollfd *one, int64_t timeout_ns) {
  struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
  return ppoll(one, 1, timeout_ns < 0 ? NULL : &timeout, NULL);
}

#else

#include <arpa/inet.h>

#undef AF_PACKET
#define AF_PACKET (-1) /* no address has this family */
#undef htobe16
#undef htobe64
#undef be64toh
#define htobe16(number) htons(number)
#define htobe64(number) fs_portable_swap64(number)
#define be64toh(number) fs_portable_swap64(number)
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

struct sockaddr_ll {
  uint16_t sll_family, sll_protocol;
  int sll_ifindex;
  uint16_t sll_hatype;
  uint8_t sll_pkttype, sll_halen, sll_addr[8];
};

static inline uint64_t fs_portable_swap64(uint64_t number) {
  return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(number) : number;
}

/* Non-blocking, close-on-exec, and without SIGPIPE: the descriptor, or -1. */
static inline int fs_portable_adopt(int fd) {
  if (fd < 0) return fd;
#ifdef SO_NOSIGPIPE
  int on = 1;
  (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static inline int fs_portable_socket(int family) {
  return fs_portable_adopt(socket(family, SOCK_STREAM, 0));
}

static inline int fs_portable_accept(int fd, struct sockaddr *peer, socklen_t *len) {
  return fs_portable_adopt(accept(fd, peer, len));
}

static inline int fs_portable_poll(struct pollfd *one, int64_t timeout_ns) {
  int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
  return poll(one, 1, ms < INT_MAX ? (int)ms : INT_MAX);
}

#endif

#endif
