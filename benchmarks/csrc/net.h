/* net.h: sockets and commands, as the C programs of echo, ingest and idle share them.
 *
 * Purpose:   an address is a word: "tcp" (any free port) or a path to listen at, a port number of
 *            127.0.0.1 or a path to connect to.
 * Ownership: who opens a socket closes it; the end of the process closes the others.
 * Threading: none; every program has one thread.
 * Limits:    none of its own.
 *
 * All of it dies with one line where the system says no.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.h"

enum { BACKLOG = 4096, CONNECTIONS_MAX = 100000 };

typedef union {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_un un;
} net_address;

static inline bool net_is_path(const char *where) { return strchr(where, '/') != NULL; }

/* Returns the length of the address. */
static inline socklen_t net_address_of(net_address *address, const char *where, size_t port) {
  memset(address, 0, sizeof *address);
  if (net_is_path(where)) {
    address->un.sun_family = AF_UNIX;
    if (strlen(where) >= sizeof address->un.sun_path) die("'%s' is too long a path", where);
    strcpy(address->un.sun_path, where);
    return sizeof address->un;
  }
  address->in.sin_family = AF_INET;
  address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address->in.sin_port = htons((uint16_t)port);
  return sizeof address->in;
}

static inline void net_no_delay(int fd, const char *where) {
  int on = 1;
  if (!net_is_path(where) && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
    die("TCP_NODELAY: %s", strerror(errno));
}

/* Listens at "tcp" or a path. */
static inline int net_listen(const char *where) {
  net_address address;
  socklen_t len = net_address_of(&address, where, 0);
  int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0)
    die("listen at %s: %s", where, strerror(errno));
  return fd;
}

/* The port of a socket that listens at "tcp". */
static inline int net_port(int listen_fd) {
  net_address address;
  socklen_t len = sizeof address;
  if (getsockname(listen_fd, &address.any, &len) < 0) die("getsockname: %s", strerror(errno));
  return ntohs(address.in.sin_port);
}

static inline int net_accept(int listen_fd, const char *where) {
  int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) die("accept: %s", strerror(errno));
  net_no_delay(fd, where);
  return fd;
}

static inline int net_connect(const char *where) {
  net_address address;
  size_t port = net_is_path(where) ? 0 : parse_count("PORT", where, 1, 65535);
  socklen_t len = net_address_of(&address, where, port);
  int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, &address.any, len) < 0) die("connect: %s", strerror(errno));
  net_no_delay(fd, where);
  return fd;
}

/* Waits until the kernel has taken all. */
static inline void net_send_all(int fd, const char *data, size_t len) {
  for (size_t done = 0; done < len;) {
    ssize_t sent = send(fd, data + done, len - done, MSG_NOSIGNAL);
    if (sent < 0) die("the other side went away: %s", strerror(errno));
    done += (size_t)sent;
  }
}

static inline int net_epoll(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) die("epoll: %s", strerror(errno));
  return fd;
}

static inline void net_watch(int epoll_fd, int fd, uint32_t events, void *who) {
  struct epoll_event event = {.events = events, .data.ptr = who};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}

static volatile sig_atomic_t net_late;

static inline void net_ring(int signal) {
  (void)signal;
  net_late = 1;
}

/* Sets net_late after so many seconds, and interrupts the call that waits then: a bound that costs
   a waiting call nothing. 0 takes it back. */
static inline void net_alarm(double seconds) {
  struct sigaction action = {.sa_handler = net_ring};
  struct itimerval timer = {.it_value.tv_sec = (time_t)seconds};
  timer.it_value.tv_usec = (suseconds_t)((seconds - (double)timer.it_value.tv_sec) * 1e6);
  net_late = 0;
  if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0)
    die("alarm: %s", strerror(errno));
}

#endif
