#include "fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define FAULT_NAME(call) #call,
const char *const fault_names[FAULT_COUNT] = {FAULT_CALLS(FAULT_NAME)};

size_t (*fault_send_limit)(int fd, size_t len);
void (*fault_before_write)(int fd);

static _Thread_local struct {
  fault_call call;
  int nth, times, error, seen, hits;
  bool on;
} plan;

void fault_plan(fault_call call, int nth, int times, int error) {
  plan.call = call;
  plan.nth = nth;
  plan.times = times;
  plan.error = error;
  plan.seen = plan.hits = 0;
}

void fault_on(void) { plan.on = true; }
void fault_off(void) { plan.on = false; }
int fault_hits(void) { return plan.hits; }

static bool fails(fault_call call) {
  if (!plan.on || plan.call != call) return false;
  plan.seen++;
  if (plan.seen < plan.nth || plan.seen >= plan.nth + plan.times) return false;
  plan.hits++;
  errno = plan.error;
  return true;
}

/* The wrapper of one function: what it gives back when it fails, its parameters, its arguments. */
#define WRAP(type, call, failure, params, args) \
  type __real_##call params;                    \
  type __wrap_##call params;                    \
  type __wrap_##call params { return fails(FAULT_##call) ? failure : __real_##call args; }

WRAP(void *, malloc, NULL, (size_t size), (size))
WRAP(void *, calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, NULL, (void *old, size_t size), (old, size))
WRAP(int, memfd_create, -1, (const char *name, unsigned flags), (name, flags))
WRAP(int, ftruncate, -1, (int fd, off_t len), (fd, len))
WRAP(void *, mmap, MAP_FAILED, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset))
WRAP(int, epoll_create1, -1, (int flags), (flags))
WRAP(int, epoll_ctl, -1, (int epoll_fd, int op, int fd, struct epoll_event *event),
     (epoll_fd, op, fd, event))
WRAP(int, eventfd, -1, (unsigned count, int flags), (count, flags))
WRAP(int, timerfd_create, -1, (int clock, int flags), (clock, flags))
WRAP(int, socket, -1, (int family, int type, int protocol), (family, type, protocol))
WRAP(int, setsockopt, -1, (int fd, int level, int name, const void *value, socklen_t len),
     (fd, level, name, value, len))
WRAP(int, accept4, -1, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
     (fd, addr, len, flags))
WRAP(ssize_t, recv, -1, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(int, shutdown, -1, (int fd, int how), (fd, how))

/* epoll_pwait2, which is called by its number. */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...) {
  long of[6];
  va_list given;
  va_start(given, number);
  for (size_t i = 0; i < sizeof of / sizeof *of; i++) of[i] = va_arg(given, long);
  va_end(given);
  if (number == SYS_epoll_pwait2 && fails(FAULT_epoll_pwait2)) return -1;
  return __real_syscall(number, of[0], of[1], of[2], of[3], of[4], of[5]);
}

/* The two that send may also take less than they are given. */

ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static ssize_t would_block(void) {
  errno = EAGAIN;
  return -1;
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags) {
  if (fails(FAULT_send)) return -1;
  size_t limit = plan.on && fault_send_limit ? fault_send_limit(fd, len) : len;
  return limit == 0 ? would_block() : __real_send(fd, buf, limit, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
  if (fails(FAULT_sendmsg)) return -1;
  if (!plan.on || !fault_send_limit) return __real_sendmsg(fd, message, flags);
  size_t total = 0, kept = 0, count = 0;
  for (size_t i = 0; i < message->msg_iovlen; i++) total += message->msg_iov[i].iov_len;
  size_t limit = fault_send_limit(fd, total);
  if (limit == 0) return would_block();
  struct msghdr shorter = *message;
  while (kept + shorter.msg_iov[count].iov_len < limit) kept += shorter.msg_iov[count++].iov_len;
  struct iovec *last = &shorter.msg_iov[count];
  size_t last_len = last->iov_len;
  last->iov_len = limit - kept;
  shorter.msg_iovlen = count + 1;
  ssize_t sent = __real_sendmsg(fd, &shorter, flags);
  last->iov_len = last_len;
  return sent;
}

/* The one that a thread may be held up in. */

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

ssize_t __wrap_write(int fd, const void *buf, size_t len) {
  if (fault_before_write) fault_before_write(fd);
  return __real_write(fd, buf, len);
}
