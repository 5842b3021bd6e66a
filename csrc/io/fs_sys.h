/* fs_sys.h: the system calls of the engine, one function each.
 *
 * Purpose:   the only file that issues socket system calls.
 * Ownership: descriptors are the caller's; each is close-on-exec.
 * Threading: safe from any thread.
 * Limits:    none of its own.
 *
 * Every function returns >= 0 or -errno. Calls on non-blocking descriptors retry EINTR; those that
 * may block (fs_sys_poll) return -EINTR, so that the caller can run signal handlers.
 */
#ifndef FS_SYS_H
#define FS_SYS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/fs_base.h"

/* An address of any family that the engine serves. */
typedef struct fs_addr {
  socklen_t len;
  union {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
  };
} fs_addr;

/* How many bytes of an fs_addr are in use. */
static inline size_t fs_addr_size(const fs_addr *addr) {
  return offsetof(fs_addr, any) + addr->len;
}

/* A spare descriptor, to be closed when another one is needed. */
int fs_sys_spare(void);

/* The next connection: non-blocking, TCP_NODELAY where that applies; peer receives its address.
 * -EAGAIN when there is none. */
int fs_sys_accept(int listen_fd, fs_addr *peer);

/* A non-blocking stream socket that is connected or connecting (*pending is then true; it is
 * decided when writable). -EAGAIN if the backlog of a UNIX server is full. */
int fs_sys_connect(const fs_addr *addr, bool *pending);

/* Bytes of a stream socket that its peer has not been sent or has not acknowledged; of a UNIX
 * socket, that it has not read, with what they take. 0 if the kernel does not say. */
size_t fs_sys_queued(int fd);

/* How connecting ended: 0, or why not. -ECONNREFUSED also for a socket connected to itself, as
 * TCP may do if no socket listens there; its port is free then. */
int fs_sys_connect_result(int fd);

/* The address that fd is bound to. */
int fs_sys_local_addr(int fd, fs_addr *addr);

/* Bytes moved, -EAGAIN where the call would block, 0 from recv at end of stream. Never SIGPIPE. */
ssize_t fs_sys_send(int fd, const void *buf, size_t len);
ssize_t fs_sys_sendv(int fd, struct iovec *iov, int iov_count);
ssize_t fs_sys_recv(int fd, void *buf, size_t len);
ssize_t fs_sys_recvv(int fd, struct iovec *iov, int iov_count);

/* How many bytes have arrived and wait to be read. */
size_t fs_sys_unread(int fd);

/* Tells the peer that nothing more comes. */
int fs_sys_shutdown_write(int fd);

/* Makes the next close a reset: for a peer that does not take what waits for it. */
int fs_sys_reset_on_close(int fd);

/* Closes fd. Never retried: on Linux the descriptor is gone whatever close(2) returns. */
void fs_sys_close(int fd);

/* Waits until fd has one of events (POLLIN, POLLOUT) or timeout_ns (-1: forever) has passed.
 * 1 ready, 0 timeout, -EINTR on a signal. */
int fs_sys_poll(int fd, short events, int64_t timeout_ns);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t fs_sys_now_ns(void);

#endif
